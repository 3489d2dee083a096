//! The journal's file.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    Entry, Record, StoreError, encoding,
    files::{failed, publish, stage},
    frame::{Frame, Frames, encode_frame, encode_header},
};

/// What a log needs of a file, so that a test can let it fail.
pub(crate) trait Disk {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Disk for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Log<D = File> {
    disk: D,
    path: PathBuf,
    /// The bytes that are durable.
    length: u64,
    first: u64,
    next: u64,
    unusable: bool,
}

/// What a journal holds, up to the first place that cannot be read.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// The bytes that are sound.
    pub(crate) sound: u64,
    /// The bytes of the file.
    pub(crate) length: u64,
    /// What stopped the scan.
    pub(crate) damage: Option<StoreError>,
}

/// Verifies the header and every frame.
pub(crate) fn scan(path: &Path) -> Result<Scan, StoreError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let length = file.metadata().map_err(failed("read", path))?.len();
    let mut frames = Frames::new(BufReader::new(file), path, length)?;
    let damage = loop {
        match frames.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(damage) => break Some(damage),
        }
    };
    Ok(Scan { first: frames.first(), next: frames.next_sequence(), sound: frames.offset(), length, damage })
}

/// The records from `from` on among the first `length` bytes.
pub(crate) fn records(path: &Path, length: u64, from: u64) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    each_frame(path, length, |frame| {
        if frame.end() > from {
            records.extend(decode(path, &frame)?.into_iter().filter(|record| record.sequence >= from));
        }
        Ok(())
    })?;
    Ok(records)
}

impl Log {
    /// Creates an empty journal. Fails without a trace.
    pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
        let temporary = path.with_extension("new");
        stage(&temporary, &[&encode_header(1)])?;
        publish(&temporary, path)
    }

    /// Opens a journal, drops a torn tail and gives its error.
    pub(crate) fn open(path: &Path) -> Result<(Self, Option<StoreError>), StoreError> {
        let Scan { first, next, sound, length: _, damage } = scan(path)?;
        let disk = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
        if let Some(damage) = &damage {
            if !matches!(damage, StoreError::TornTail { .. }) {
                return Err(damage.clone());
            }
            disk.set_len(sound).map_err(failed("truncate", path))?;
        }
        // A killed owner may have written a batch that it could not sync any more: whoever reads it now builds on it.
        disk.sync_all().map_err(failed("sync", path))?;
        Ok((Self { disk, path: path.to_owned(), length: sound, first, next, unusable: false }, damage))
    }

    /// Replaces the file by one that begins with the record `before`.
    pub(crate) fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        self.usable()?;
        let before = before.min(self.next);
        if before <= self.first {
            return Ok(());
        }
        let mut bytes = encode_header(before).to_vec();
        each_frame(&self.path, self.length, |frame| {
            if frame.end() <= before {
                return Ok(());
            }
            let frame = if frame.first >= before { frame } else { tail_of(&self.path, &frame, before)? };
            bytes.extend(encode_frame(frame.first, frame.count, &frame.payload)?);
            Ok(())
        })?;
        let temporary = self.path.with_extension("new");
        stage(&temporary, &[&bytes])?;
        // From here on it is open which of the two files has the name, and this handle may belong to neither.
        self.unusable = true;
        publish(&temporary, &self.path)?;
        self.disk = OpenOptions::new().read(true).write(true).open(&self.path).map_err(failed("open", &self.path))?;
        (self.length, self.first, self.unusable) = (bytes.len() as u64, before, false);
        Ok(())
    }
}

impl<D: Disk> Log<D> {
    /// One frame, one sync.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        self.usable()?;
        let first = self.next;
        if entries.is_empty() {
            return Ok(first..first);
        }
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        // Nobody gets there by counting: the file was made.
        let detail = "the sequence numbers: none are left for a batch";
        let damage = || StoreError::Corrupt { path: self.path.clone(), offset: self.length, detail };
        let next = first.checked_add(u64::from(count)).ok_or_else(damage)?;
        let frame = encode_frame(first, count, &encoding::encode_batch(first, entries))?;
        if let Err(error) = self.disk.write_at(self.length, &frame) {
            self.unusable = self.disk.cut(self.length).is_err();
            return Err(failed("append", &self.path)(error));
        }
        if let Err(error) = self.disk.sync() {
            // After a failed sync the system may take the pages for clean: a second sync would prove nothing.
            self.unusable = true;
            return Err(failed("sync", &self.path)(error));
        }
        self.length += frame.len() as u64;
        self.next = next;
        Ok(first..self.next)
    }

    /// The durable records from `from` on.
    pub(crate) fn read(&self, from: u64) -> Result<Vec<Record>, StoreError> {
        records(&self.path, self.length, from)
    }

    /// The sequence numbers that are held.
    pub(crate) fn held(&self) -> Range<u64> {
        self.first..self.next
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.unusable { Err(StoreError::Unusable { path: self.path.clone() }) } else { Ok(()) }
    }
}

fn each_frame(
    path: &Path,
    length: u64,
    mut each: impl FnMut(Frame) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let there = file.metadata().map_err(failed("read", path))?.len();
    if there < length {
        return Err(StoreError::Truncated { path: path.to_owned(), offset: there, expected: length });
    }
    let mut frames = Frames::new(BufReader::new(file), path, length)?;
    while let Some(frame) = frames.next_frame()? {
        each(frame)?;
    }
    Ok(())
}

fn decode(path: &Path, frame: &Frame) -> Result<Vec<Record>, StoreError> {
    let (offset, sequence) = (frame.offset, frame.first);
    let records = encoding::decode_batch(&frame.payload).map_err(|source| StoreError::Unreadable {
        path: path.to_owned(),
        offset,
        sequence,
        source,
    })?;
    let numbered = records.iter().map(|record| record.sequence).eq(frame.first..frame.end());
    if numbered {
        return Ok(records);
    }
    Err(StoreError::Corrupt { path: path.to_owned(), offset, detail: "the numbers of a batch's records" })
}

/// What is left of a batch when the records before `before` go.
fn tail_of(path: &Path, frame: &Frame, before: u64) -> Result<Frame, StoreError> {
    let records = decode(path, frame)?.into_iter().filter(|record| record.sequence >= before);
    let entries: Vec<_> = records.map(|record| record.entry).collect();
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    Ok(Frame { offset: frame.offset, first: before, count, payload: encoding::encode_batch(before, &entries) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that fails on demand.
    struct Flaky {
        file: File,
        space: usize,
        sync_fails: bool,
        cut_fails: bool,
    }

    impl Disk for Flaky {
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let fits = bytes.len().min(self.space);
            self.file.write_at(offset, &bytes[..fits])?;
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.sync_fails { Err(io::Error::other("the disk is gone")) } else { self.file.sync() }
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if self.cut_fails { Err(io::Error::other("the disk is gone")) } else { self.file.cut(length) }
        }
    }

    fn flaky() -> (tempfile::TempDir, Log<Flaky>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        Log::create(&path).unwrap();
        let (Log { disk, path, length, first, next, unusable }, torn) = Log::open(&path).unwrap();
        assert_eq!(torn, None);
        let disk = Flaky { file: disk, space: usize::MAX, sync_fails: false, cut_fails: false };
        let mut log = Log { disk, path, length, first, next, unusable };
        assert_eq!(log.append(&[entry(1), entry(2)]), Ok(1..3));
        (directory, log)
    }

    fn entry(number: u8) -> Entry {
        Entry::Telemetry { packet: vec![number; 40] }
    }

    fn reason<T>(result: Result<T, StoreError>) -> Result<T, &'static str> {
        result.map_err(|error| error.reason())
    }

    #[test]
    fn a_full_disk_refuses_at_every_byte_and_takes_the_next_when_there_is_space() {
        for space in 0..100 {
            let (_directory, mut log) = flaky();
            log.disk.space = space;
            assert_eq!(reason(log.append(&[entry(3)])), Err("disk_full"));
            assert_eq!(scan(&log.path).unwrap().damage, None, "the rest of the batch was cut off");
            log.disk.space = usize::MAX;
            assert_eq!(log.append(&[entry(4)]), Ok(3..4));
            let entries: Vec<_> = log.read(1).unwrap().into_iter().map(|record| record.entry).collect();
            assert_eq!(entries, [entry(1), entry(2), entry(4)]);
        }
    }

    #[test]
    fn what_cannot_be_cut_off_ends_the_journal_until_it_is_opened_again() {
        let (_directory, mut log) = flaky();
        (log.disk.space, log.disk.cut_fails) = (50, true);
        assert_eq!(reason(log.append(&[entry(3)])), Err("disk_full"));
        log.disk.space = usize::MAX;
        assert_eq!(reason(log.append(&[entry(4)])), Err("unusable"));
        assert_eq!(log.read(1).unwrap().len(), 2);
        let (mut again, torn) = Log::open(&log.path).unwrap();
        assert!(matches!(torn, Some(StoreError::TornTail { bytes: 50, .. })), "{torn:?}");
        assert_eq!(again.append(&[entry(4)]), Ok(3..4));
    }

    #[test]
    fn a_failed_sync_is_not_tried_again() {
        let (_directory, mut log) = flaky();
        log.disk.sync_fails = true;
        assert_eq!(reason(log.append(&[entry(3)])), Err("io"));
        log.disk.sync_fails = false;
        assert_eq!(reason(log.append(&[entry(3)])), Err("unusable"));
        assert_eq!(log.read(1).unwrap().len(), 2, "not durable, not read");
        let (again, _) = Log::open(&log.path).unwrap();
        assert_eq!(again.held(), 1..4, "the batch arrived after all, and counts from now on");
    }

    #[test]
    fn blocks_that_were_never_written_are_a_torn_tail() {
        let (_directory, log) = flaky();
        let whole = std::fs::read(&log.path).unwrap();
        let frame = encode_frame(3, 1, &encoding::encode_batch(3, &[entry(3)])).unwrap();
        for written in 0..frame.len() - 8 {
            let mut bytes = whole.clone();
            bytes.extend(&frame[..written]);
            bytes.resize(whole.len() + frame.len(), 0);
            std::fs::write(&log.path, &bytes).unwrap();
            let damage = scan(&log.path).unwrap().damage;
            let torn = matches!(damage, Some(StoreError::TornTail { offset, .. }) if offset == whole.len() as u64);
            assert!(torn, "{written}: {damage:?}");
        }
    }

    #[test]
    fn a_gap_is_named() {
        let (_directory, log) = flaky();
        let mut bytes = std::fs::read(&log.path).unwrap();
        let offset = bytes.len() as u64;
        bytes.extend(encode_frame(4, 1, &encoding::encode_batch(4, &[entry(3)])).unwrap());
        std::fs::write(&log.path, &bytes).unwrap();
        let gap = StoreError::Gap { path: log.path.clone(), offset, expected: 3, got: 4 };
        assert_eq!(Log::open(&log.path).map(|_| ()), Err(gap));
    }

    #[test]
    fn numbers_do_not_begin_again_behind_the_last() {
        let (_directory, log) = flaky();
        let journal = |first: u64, batches: &[(u64, u32)]| {
            let mut bytes = encode_header(first).to_vec();
            for (first, count) in batches {
                bytes.extend(encode_frame(*first, *count, &[]).unwrap());
            }
            std::fs::write(&log.path, &bytes).unwrap();
            Log::open(&log.path).map(|(log, _)| log)
        };
        let mut last = journal(u64::MAX - 1, &[]).unwrap();
        assert_eq!(last.append(&[entry(1)]), Ok(u64::MAX - 1..u64::MAX));
        assert_eq!(reason(last.append(&[entry(2)])), Err("corrupt"));
        assert_eq!(Log::open(&log.path).unwrap().0.read(0).unwrap().len(), 1);
        assert_eq!(reason(journal(u64::MAX - 1, &[(u64::MAX - 1, 2)]).map(|_| ())), Err("corrupt"));
    }

    #[test]
    fn too_large_a_batch_leaves_no_trace() {
        let (_directory, mut log) = flaky();
        let huge = Entry::Telemetry { packet: vec![0; crate::MAX_BATCH_BYTES] };
        assert_eq!(reason(log.append(&[huge])), Err("too_large"));
        assert_eq!(log.append(&[entry(3)]), Ok(3..4));
    }
}
