//! A disk that refuses: what is acknowledged stays, and what comes next is right.

use std::{io::ErrorKind, sync::Arc};

use kasmina_rollback::{
    Blobs, Digest, Entry, JOURNAL_VERSION, Journal, JournalFile, MAX_BATCH_BYTES, Storage, Store, StoreError,
    doubles::{Operation, SimulatedDisk, conformance::records},
};

#[test]
fn full_disk_refuses_batch_and_accepts_the_next() {
    let (disk, mut journal) = journal();
    let before = disk.files()["journal"].clone();
    disk.fail(0, Some(Operation::Write), ErrorKind::StorageFull);
    assert_eq!(reason(journal.append(&[entry(3)])), Err("disk_full"));
    assert_eq!(disk.files()["journal"], before, "the rest of the batch was cut off");
    assert_eq!(journal.append(&[entry(4)]), Ok(3..4));
    assert_eq!(entries(&mut journal), [entry(1), entry(2), entry(4)]);
}

#[test]
fn batch_that_cannot_be_cut_off_makes_journal_unusable_until_reopened() {
    for operation in [Operation::Truncate, Operation::Sync] {
        let (disk, _) = journal();
        let failing = Failing { disk: disk.clone(), then: operation };
        let (mut again, _) = JournalFile::open(Arc::new(failing)).unwrap();
        disk.fail(0, Some(Operation::Write), ErrorKind::StorageFull);
        assert_eq!(reason(again.append(&[entry(3)])), Err("disk_full"));
        assert_eq!(reason(again.append(&[entry(4)])), Err("unusable"));
        assert_eq!(reason(again.status()), Err("unusable"));
        assert_eq!(entries(&mut again).len(), 2, "what is durable can be read");
        let (mut reopened, _) = JournalFile::open(Arc::new(disk)).unwrap();
        assert_eq!(reopened.append(&[entry(4)]), Ok(3..4));
    }
}

#[test]
fn failed_sync_makes_journal_unusable_until_reopened() {
    let (disk, mut journal) = journal();
    disk.fail(0, Some(Operation::Sync), ErrorKind::Other);
    assert_eq!(reason(journal.append(&[entry(3)])), Err("io"));
    assert_eq!(reason(journal.append(&[entry(3)])), Err("unusable"));
    assert_eq!(reason(journal.compact(2)), Err("unusable"));
    assert_eq!(entries(&mut journal).len(), 2, "not durable, not read");
    let (again, _) = JournalFile::open(Arc::new(disk)).unwrap();
    assert_eq!(again.status(), Ok(1..4), "the batch arrived after all, and counts from now on");
}

#[test]
fn failed_compaction_leaves_the_old_journal() {
    let (disk, mut journal) = journal();
    disk.fail(0, Some(Operation::Write), ErrorKind::StorageFull);
    assert_eq!(reason(journal.compact(2)), Err("disk_full"));
    assert_eq!(disk.files().into_keys().collect::<Vec<_>>(), ["journal"], "nothing is left behind");
    assert_eq!(journal.append(&[entry(3)]), Ok(3..4));
    disk.fail(0, Some(Operation::SyncDirectory), ErrorKind::Other);
    assert_eq!(reason(journal.compact(2)), Err("io"));
    assert_eq!(reason(journal.append(&[entry(4)])), Err("unusable"), "either file may come back");
    let (mut again, _) = JournalFile::open(Arc::new(disk)).unwrap();
    assert_eq!(entries(&mut again), [entry(2), entry(3)]);
}

#[test]
fn blob_whose_directory_sync_failed_is_written_again() {
    let disk = SimulatedDisk::new();
    let mut blobs = Store::open_on(Arc::new(disk.clone())).unwrap().blobs;
    disk.fail(0, Some(Operation::SyncDirectory), ErrorKind::Other);
    assert_eq!(reason(blobs.put_all(&[b"one", b"two"])), Err("io"));
    assert_eq!(disk.files().into_keys().collect::<Vec<_>>(), ["journal"], "nothing is left behind");
    let before = disk.count(Operation::Sync);
    let digests = blobs.put_all(&[b"one", b"two", b"one"]).unwrap();
    assert_eq!(disk.count(Operation::Sync) - before, 2, "one sync for each new blob");
    let before = disk.operations();
    blobs.put_all(&[b"one"]).unwrap();
    assert_eq!(disk.operations(), before, "what is stored costs nothing");
    assert_eq!(blobs.get(&digests[1]).unwrap(), b"two");
}

#[test]
fn several_blobs_cost_one_directory_sync() {
    let disk = SimulatedDisk::new();
    let mut blobs = Store::open_on(Arc::new(disk.clone())).unwrap().blobs;
    let before = disk.count(Operation::SyncDirectory);
    blobs.put_all(&[b"one", b"two", b"three"]).unwrap();
    assert_eq!(disk.count(Operation::SyncDirectory) - before, 1);
}

#[test]
fn append_costs_one_write_and_one_sync() {
    let (disk, mut journal) = journal();
    let before = disk.operations();
    journal.append(&[entry(3), entry(4), entry(5)]).unwrap();
    assert_eq!(disk.operations() - before, 2);
}

#[test]
fn damaged_blob_is_refused_and_can_be_stored_again() {
    let disk = SimulatedDisk::new();
    let mut blobs = Store::open_on(Arc::new(disk.clone())).unwrap().blobs;
    let digest = blobs.put_all(&[b"weights"]).unwrap()[0];
    disk.damage(&format!("{digest}.blob"), |bytes| bytes[0] ^= 1);
    assert!(matches!(blobs.get(&digest), Err(StoreError::CorruptBlob { expected, .. }) if expected == digest));
    blobs.put_all(&[b"weights"]).unwrap();
    assert_eq!(blobs.get(&digest).unwrap(), b"weights");
}

#[test]
fn sweep_lists_and_reads_nothing() {
    let disk = SimulatedDisk::new();
    let mut blobs = Store::open_on(Arc::new(disk.clone())).unwrap().blobs;
    blobs.put_all(&[b"one", b"two"]).unwrap();
    let before = disk.operations();
    blobs.retain(&mut |_| true).unwrap();
    assert_eq!(disk.operations(), before);
}

#[test]
fn batch_beyond_the_limit_leaves_no_trace() {
    let (_disk, mut journal) = journal();
    let huge = Entry::Telemetry { packet: vec![0; MAX_BATCH_BYTES] };
    assert_eq!(reason(journal.append(&[huge])), Err("too_large"));
    assert_eq!(journal.append(&[entry(3)]), Ok(3..4));
}

#[test]
fn last_sequence_number_is_never_passed() {
    let last = u64::MAX - 1;
    let disk = SimulatedDisk::new();
    disk.write("journal", 0, &forged(last, None)).unwrap();
    let (mut journal, _) = JournalFile::open(Arc::new(disk)).unwrap();
    assert_eq!(journal.append(&[entry(1)]), Ok(last..u64::MAX));
    assert_eq!(reason(journal.append(&[entry(2)])), Err("corrupt"));
    assert_eq!(entries(&mut journal), [entry(1)]);

    let disk = SimulatedDisk::new();
    disk.write("journal", 0, &forged(last, Some(2))).unwrap();
    assert_eq!(reason(JournalFile::open(Arc::new(disk)).map(|_| ())), Err("corrupt"));
}

#[test]
fn number_of_records_that_does_not_fit_the_payload_is_corrupt() {
    for (count, expected) in [(0, "corrupt"), (1, "unreadable_record")] {
        let disk = SimulatedDisk::new();
        disk.write("journal", 0, &forged(1, Some(count))).unwrap();
        let (mut journal, _) = JournalFile::open(Arc::new(disk)).unwrap();
        let visited = journal.visit(0..9, &mut |_| std::ops::ControlFlow::Continue(()));
        assert_eq!(reason(visited), Err(expected), "{count}");
    }
}

/// A journal with sound checks whose first record is `first`, and perhaps a batch of so many records around one byte.
fn forged(first: u64, count: Option<u32>) -> Vec<u8> {
    let check = |bytes: &[u8]| Digest::of(bytes).as_bytes()[..8].to_vec();
    let mut header = [&b"KASMJRNL"[..], &JOURNAL_VERSION.to_le_bytes(), &[0; 4], &first.to_le_bytes()].concat();
    header.extend(check(&header));
    let Some(count) = count else { return header };
    let mut frame = [&b"KJF2"[..], &1_u32.to_le_bytes(), &first.to_le_bytes(), &count.to_le_bytes()].concat();
    frame.extend(check(&frame));
    frame.push(0);
    let digest = Digest::of(&frame);
    frame.extend(digest.as_bytes());
    [header, frame].concat()
}

fn journal() -> (SimulatedDisk, JournalFile) {
    let disk = SimulatedDisk::new();
    let (mut journal, torn) = JournalFile::open(Arc::new(disk.clone())).unwrap();
    assert_eq!(torn, None);
    assert_eq!(journal.append(&[entry(1), entry(2)]), Ok(1..3));
    (disk, journal)
}

fn entries(journal: &mut JournalFile) -> Vec<Entry> {
    records(journal, 0).into_iter().map(|record| record.entry).collect()
}

fn entry(number: u8) -> Entry {
    Entry::Telemetry { packet: vec![number; 40] }
}

fn reason<T>(result: Result<T, StoreError>) -> Result<T, &'static str> {
    result.map_err(|error| error.reason())
}

/// Fails another operation after a write that failed.
struct Failing {
    disk: SimulatedDisk,
    then: Operation,
}

impl Storage for Failing {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.disk.path(name)
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        self.disk.list()
    }

    fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.disk.length(name)
    }

    fn read(&self, name: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.disk.read(name, range)
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.disk.write(name, offset, bytes).inspect_err(|_| self.disk.fail(0, Some(self.then), ErrorKind::Other))
    }

    fn truncate(&self, name: &str, length: u64) -> Result<(), StoreError> {
        self.disk.truncate(name, length)
    }

    fn sync(&self, name: &str) -> Result<(), StoreError> {
        self.disk.sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> Result<(), StoreError> {
        self.disk.sync_directory()
    }
}
