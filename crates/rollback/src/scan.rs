//! Reading a journal frame by frame.

use std::path::PathBuf;

use crate::{
    Storage, StoreError,
    frame::{Frame, HEAD_BYTES, HEADER_BYTES, Head, JOURNAL_VERSION, MAGIC, MARK, check, is_sound, number},
};

/// The part of a file that a medium writes as a whole. A power cut leaves all of it or nothing.
pub const SECTOR_BYTES: u64 = 512;

/// Bytes that are read at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// Reads the first `length` bytes of a journal.
pub(crate) struct Frames<'a> {
    storage: &'a dyn Storage,
    name: &'a str,
    length: u64,
    offset: u64,
    first: u64,
    next: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Frames<'a> {
    /// Reads and verifies the header.
    pub(crate) fn new(storage: &'a dyn Storage, name: &'a str, length: u64) -> Result<Self, StoreError> {
        let mut frames = Self { storage, name, length, offset: 0, first: 0, next: 0, window: Vec::new(), window_at: 0 };
        let available = length.min(HEADER_BYTES as u64);
        let header = frames.bytes(0, available)?.to_vec();
        let magic = header.len().min(MAGIC.len());
        if header[..magic] != MAGIC[..magic] {
            return Err(StoreError::NotAStore { path: frames.path(), detail: "it is not a journal".to_owned() });
        }
        if header.len() < HEADER_BYTES {
            return Err(StoreError::Truncated { path: frames.path(), offset: length, expected: HEADER_BYTES as u64 });
        }
        if header[24..] != check(&header[..24]) {
            return Err(StoreError::Corrupt { path: frames.path(), offset: 0, detail: "the header's check" });
        }
        let got = number(&header[8..12]) as u32;
        if got < JOURNAL_VERSION {
            return Err(StoreError::OlderVersion { path: frames.path(), expected: JOURNAL_VERSION, got });
        }
        if got > JOURNAL_VERSION {
            return Err(StoreError::NewerVersion { path: frames.path(), newest: JOURNAL_VERSION, got });
        }
        frames.first = number(&header[16..24]);
        frames.next = frames.first;
        frames.offset = HEADER_BYTES as u64;
        Ok(frames)
    }

    /// The sequence number of the first record, read or not.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The sequence number after the last record that was read.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, verified, or `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::TornTail`], [`StoreError::Corrupt`] or [`StoreError::Gap`]; [`offset`](Self::offset) stays before it.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, StoreError> {
        let left = self.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        if left < HEAD_BYTES as u64 {
            return Err(self.torn());
        }
        let Some(head) = Head::parse(self.bytes(self.offset, HEAD_BYTES as u64)?) else {
            let torn = self.has_hole(self.offset, HEAD_BYTES as u64)? && !self.a_frame_follows()?;
            return Err(if torn { self.torn() } else { self.corrupt("the check of a batch's head") });
        };
        if head.frame_bytes() > left {
            return Err(self.torn());
        }
        let bytes = self.bytes(self.offset, head.frame_bytes())?.to_vec();
        if !is_sound(&bytes) {
            let torn = head.frame_bytes() == left && self.has_hole(self.offset, left)?;
            return Err(if torn { self.torn() } else { self.corrupt("the SHA-256 of a batch") });
        }
        if head.first != self.next {
            let (path, offset) = (self.path(), self.offset);
            return Err(StoreError::Gap { path, offset, expected: self.next, got: head.first });
        }
        if head.first.checked_add(head.count.into()).is_none() {
            return Err(self.corrupt("the numbers of a batch's records"));
        }
        let frame = Frame { head, offset: self.offset, bytes };
        self.next = frame.end();
        self.offset += head.frame_bytes();
        Ok(Some(frame))
    }

    /// Whether a part of these bytes was never written: a sector is all zeros, or the file ends in zeros. A batch is written
    /// once, behind the end of the file, so what did not reach the medium reads as zeros.
    fn has_hole(&mut self, start: u64, length: u64) -> Result<bool, StoreError> {
        let end = self.length;
        let ends_in_zeros = self.bytes(end.saturating_sub(8).max(start), (end - start).min(8))? == [0; 8];
        let bytes = self.bytes(start, length)?;
        let first = (SECTOR_BYTES - start % SECTOR_BYTES).min(length) as usize;
        let (head, rest) = bytes.split_at(first);
        let zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
        Ok(ends_in_zeros || zero(head) || rest.chunks(SECTOR_BYTES as usize).any(zero))
    }

    /// Whether a whole batch lies somewhere behind this place. Then what is here was acknowledged, and is damaged.
    fn a_frame_follows(&mut self) -> Result<bool, StoreError> {
        let rest = self.bytes(self.offset, self.length - self.offset)?.to_vec();
        let candidates = rest.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
        let whole = |at: usize| {
            let head = Head::parse(&rest[at..])?;
            let end = at.checked_add(usize::try_from(head.frame_bytes()).ok()?)?;
            rest.get(at..end).map(is_sound)
        };
        Ok(candidates.into_iter().any(|(at, _)| whole(at) == Some(true)))
    }

    fn bytes(&mut self, offset: u64, length: u64) -> Result<&[u8], StoreError> {
        let end = offset + length;
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let until = (offset + length.max(WINDOW_BYTES)).min(self.length).max(end);
            self.window = self.storage.read(self.name, offset..until)?;
            self.window_at = offset;
        }
        let start = (offset - self.window_at) as usize;
        self.window.get(start..start + length as usize).ok_or_else(|| StoreError::Truncated {
            path: self.storage.path(self.name),
            offset: self.window_at + self.window.len() as u64,
            expected: end,
        })
    }

    fn path(&self) -> PathBuf {
        self.storage.path(self.name)
    }

    fn torn(&self) -> StoreError {
        let bytes = self.length.saturating_sub(self.offset);
        StoreError::TornTail { path: self.path(), offset: self.offset, bytes }
    }

    fn corrupt(&self, detail: &'static str) -> StoreError {
        StoreError::Corrupt { path: self.path(), offset: self.offset, detail }
    }
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
pub(crate) fn scan(storage: &dyn Storage, name: &str) -> Result<Scan, StoreError> {
    let length = storage.length(name)?.ok_or_else(|| missing(storage, name))?;
    let mut frames = Frames::new(storage, name, length)?;
    let damage = loop {
        match frames.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(damage @ (StoreError::TornTail { .. } | StoreError::Corrupt { .. } | StoreError::Gap { .. })) => {
                break Some(damage);
            }
            // The system did not let it be read: that says nothing about the bytes.
            Err(error) => return Err(error),
        }
    };
    Ok(Scan { first: frames.first(), next: frames.next_sequence(), sound: frames.offset(), length, damage })
}

fn missing(storage: &dyn Storage, name: &str) -> StoreError {
    StoreError::from_io("open", &storage.path(name), &std::io::ErrorKind::NotFound.into())
}
