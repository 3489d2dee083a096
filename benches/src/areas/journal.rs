//! Records in the journal, beside a synced write of as many bytes to a plain file. Records hold 128 bytes.

use std::{fs::File, hint::black_box, io::Write, ops::ControlFlow, path::Path};

use kasmina::{
    leyline::CommandId,
    rollback::{Entry, Journal, Store},
};
use kasmina_measure::{Limit, Row, Side};
use tempfile::TempDir;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = [1, 16, 256].map(append).into();
    cases.push(open());
    cases
}

fn append(records: usize) -> Case {
    let row = Row::new(format!("journal/append_{records}"), format!("journal {records} records of 128 bytes"));
    let row = row.beside("one synced write of the bytes").budget(Limit::RatioAtMost(1.5)).aim(Limit::RatioAtMost(1.2));
    Case::new(row, move |meter| {
        let (directory, mut store) = empty();
        let batch = entries(records);
        let journal = directory.path().join("journal");
        let before = length(&journal);
        store.journal.append(&batch).expect("appended");
        let bytes = vec![7; (length(&journal) - before) as usize];
        let raw = plain_file(directory.path());
        let ours = Side::repeat(|| store.journal.append(black_box(&batch)).expect("appended"));
        meter.pair(ours, synced_writes(raw, bytes))
    })
}

fn open() -> Case {
    let row = Row::new("journal/open_100k", "open and read 100,000 records").beside("1,000 records").doing(100.0);
    // A hundred times the records at no less than three quarters of the rate.
    Case::new(row.budget(Limit::RatioAtLeast(0.75)), |meter| {
        let ((_few, mut few), (_many, mut many)) = (opening(1_000), opening(100_000));
        meter.slow().pair(Side::repeat(&mut *many), Side::repeat(&mut *few))
    })
}

/// A store of so many records, and what opens and reads it.
pub(crate) fn opening(records: usize) -> (TempDir, Box<dyn FnMut()>) {
    let (directory, mut store) = empty();
    // In batches: a sync for each record of a million would take an hour.
    let batch = entries((records / 1_000).max(10));
    for _ in 0..records / batch.len() {
        store.journal.append(&batch).expect("appended");
    }
    drop(store);
    let path = directory.path().to_owned();
    let open = move || {
        let (mut store, mut count) = (Store::open(&path).expect("opened"), 0);
        let visited = store.journal.visit(0..u64::MAX, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        visited.expect("read");
        assert_eq!(count, records);
    };
    (directory, Box::new(open))
}

/// A file that takes synced appends by hand.
pub(crate) fn plain_file(directory: &Path) -> File {
    File::create(directory.join("plain")).expect("a file")
}

/// One synced append of these bytes.
pub(crate) fn synced_writes(mut file: File, bytes: Vec<u8>) -> Side<'static> {
    Side::repeat(move || file.write_all(black_box(&bytes)).and_then(|()| file.sync_data()).expect("synced"))
}

pub(crate) fn empty() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).expect("a store");
    (directory, store)
}

fn length(path: &Path) -> u64 {
    path.metadata().expect("a file").len()
}

fn entries(count: usize) -> Vec<Entry> {
    let command_id = CommandId::new("0190b3c4-7d1e-7c53-9e6f-0123456789ab").expect("an id");
    vec![Entry::Accepted { command_id, wire: vec![7; 80] }; count]
}
