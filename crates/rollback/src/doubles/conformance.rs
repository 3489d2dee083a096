//! What every storage, every journal and every blob store has to do.
//!
//! Each suite takes a function that makes a fresh, empty place and gives a function that opens it. The suite drops what it
//! opened before it opens the place again.
#![expect(clippy::expect_used, reason = "a suite for tests: it fails by panicking")]

use std::ops::ControlFlow;

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};

use crate::{Blobs, Digest, Entry, Journal, Record, Storage};

/// Runs the suite of [`Storage`].
///
/// # Panics
/// If the storage does not do what the trait promises to a process that lives on.
pub fn storage<S: Storage, Open: FnMut() -> S>(mut build: impl FnMut() -> Open) {
    let mut open = build();
    let disk = open();
    assert_eq!(disk.list().expect("listable"), Vec::<String>::new(), "a fresh place is empty");
    assert_eq!(disk.length("a").expect("no error"), None, "a missing file has no length");
    assert!(disk.read("a", 0..1).is_err(), "a missing file cannot be read");
    assert!(disk.remove("a").is_err(), "a missing file cannot be removed");
    assert!(disk.rename("a", "b").is_err(), "a missing file cannot be renamed");
    disk.write("a", 0, b"0123456789").expect("written");
    disk.write("a", 8, b"abcd").expect("written over the end");
    assert_eq!(disk.read("a", 0..12).expect("read"), b"01234567abcd", "writes overlap");
    assert_eq!(disk.read("a", 3..5).expect("read"), b"34", "a range");
    let beyond = disk.read("a", 10..13).map_err(|error| (error.reason(), error.offset()));
    assert_eq!(beyond, Err(("truncated", Some(12))), "a range beyond the end");
    disk.truncate("a", 4).expect("cut");
    assert_eq!(disk.length("a").expect("no error"), Some(4), "a cut file");
    disk.write("a", 6, b"z").expect("written after the end");
    assert_eq!(disk.read("a", 0..7).expect("read"), b"0123\0\0z", "a gap reads as zeros");
    disk.write("b", 0, b"other").expect("written");
    disk.sync("a").expect("synced");
    disk.rename("a", "b").expect("renamed over a file");
    disk.write("b", 7, b"!").expect("written after the rename");
    disk.sync("b").expect("synced");
    disk.write("c", 0, b"").expect("an empty file");
    disk.sync_directory().expect("synced");
    drop(disk);
    let disk = open();
    let mut names = disk.list().expect("listable");
    names.sort();
    assert_eq!(names, ["b", "c"], "names last");
    assert_eq!(disk.read("b", 0..8).expect("read"), b"0123\0\0z!", "bytes last, under the new name");
    assert_eq!(disk.length("c").expect("no error"), Some(0), "an empty file is a file");
    disk.remove("b").expect("removed");
    disk.write("b", 0, b"new").expect("written");
    assert_eq!(disk.read("b", 0..3).expect("read"), b"new", "a removed name is free");
    assert_eq!(disk.length("b").expect("no error"), Some(3), "nothing of the removed file is left");
}

/// Runs the suite of [`Journal`].
///
/// # Panics
/// If the journal does not do what the trait promises.
pub fn journal<J: Journal, Open: FnMut() -> J>(mut build: impl FnMut() -> Open) {
    numbers_and_order(build());
    compaction(build());
}

/// Runs the suite of [`Blobs`].
///
/// # Panics
/// If the blobs do not do what the trait promises.
pub fn blobs<B: Blobs, Open: FnMut() -> B>(mut build: impl FnMut() -> Open) {
    let mut open = build();
    let mut store = open();
    let (one, two, empty) = (vec![1; 3000], vec![2; 10], Vec::new());
    let unknown = store.get(&Digest::of(&one)).map_err(|error| error.reason());
    assert_eq!(unknown, Err("unknown_blob"), "an unknown blob");
    assert_eq!(store.put_all(&[]).expect("nothing to store"), [], "no blobs");
    let digests = store.put_all(&[&one, &two, &one, &empty]).expect("stored");
    assert_eq!(digests, [&one, &two, &one, &empty].map(|bytes| Digest::of(bytes)), "named by their SHA-256, in order");
    assert_eq!(store.put_all(&[&two]).expect("stored again"), [digests[1]], "storing again is no error");
    drop(store);
    let mut store = open();
    for (digest, bytes) in digests.iter().zip([&one, &two, &one, &empty]) {
        assert!(store.contains(digest), "stored");
        assert_eq!(&store.get(digest).expect("read"), bytes, "the bytes come back");
    }
    let mut asked = Vec::new();
    store
        .retain(&mut |digest| {
            asked.push(*digest);
            *digest == digests[0]
        })
        .expect("swept");
    asked.sort();
    let mut distinct = vec![digests[0], digests[1], digests[3]];
    distinct.sort();
    assert_eq!(asked, distinct, "each is asked about once");
    assert_eq!(contained(&store, &digests), [true, false, true, false], "only what is wanted is kept");
    let gone = store.get(&digests[1]).map_err(|error| error.reason());
    assert_eq!(gone, Err("unknown_blob"), "a deleted blob");
    drop(store);
    let mut store = open();
    assert_eq!(contained(&store, &digests), [true, false, true, false], "deletion lasts");
    store.put_all(&[&two]).expect("stored");
    assert_eq!(store.get(&digests[1]).expect("read"), two, "a deleted blob can be stored again");
}

/// One entry of each kind, in the order of their numbers.
#[must_use]
pub fn one_of_each() -> Vec<Entry> {
    let command_id = CommandId::new("command-1").expect("an id");
    let seed_id = SeedId::new("seed-1").expect("an id");
    let blobs = vec![Digest::of(b"a"), Digest::of(b"b")];
    vec![
        Entry::NonceSeen { command_id: command_id.clone(), issued_at: UnixTime::from_nanos(-5) },
        Entry::Accepted { command_id, wire: vec![0, 255, 7] },
        Entry::Refused { command_id: String::new(), reason: "missing_command_id".to_owned() },
        Entry::Ordered { description: vec![1, 2] },
        Entry::Moved {
            seed_id: seed_id.clone(),
            from: SeedLifecycleStage::SeedStageDormant,
            to: SeedLifecycleStage::SeedStageGerminated,
            gate: Some(SeedLifecycleGate::SeedGateG0Sanity),
            at: UnixTime::from_millis(1_700_000_000_000),
        },
        Entry::Delta { bytes: vec![3; 40], blobs: blobs[..1].to_vec() },
        Entry::Snapshot { bytes: vec![4; 300], blobs: blobs.clone() },
        Entry::Epoch { epoch: 3, step: 1 << 40, bytes: Vec::new(), blobs },
        Entry::EpochDropped { epoch: 3 },
        Entry::RolledBack { seed_id: Some(seed_id), epoch: 3 },
        Entry::Telemetry { packet: vec![9; 300] },
        Entry::WatermarkReset { at: UnixTime::from_millis(5) },
    ]
}

/// All records from `from` on.
///
/// # Panics
/// If the journal cannot be read.
pub fn records(journal: &mut impl Journal, from: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let visited = journal.visit(from..u64::MAX, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    visited.expect("a readable journal");
    records
}

fn numbers_and_order<J: Journal>(mut open: impl FnMut() -> J) {
    let entries = one_of_each();
    let mut journal = open();
    assert_eq!(journal.status().expect("usable"), 1..1, "a fresh journal is empty");
    assert_eq!(records(&mut journal, 0), [], "a fresh journal has no records");
    assert_eq!(journal.append(&[]).expect("an empty batch is no error"), 1..1, "an empty batch takes no number");
    assert_eq!(journal.append(&entries[..1]).expect("the first batch"), 1..2, "numbers begin with 1");
    assert_eq!(journal.append(&entries[1..]).expect("the second batch"), 2..13, "numbers follow each other");
    assert_eq!(journal.status().expect("usable"), 1..13, "all are held");
    let expected = numbered(1, &entries);
    assert_eq!(records(&mut journal, 0), expected, "all records in order");
    assert_eq!(records(&mut journal, 4), expected[3..], "from the middle of a batch");
    assert_eq!(records(&mut journal, 13), [], "from behind the end");
    let mut seen = Vec::new();
    journal
        .visit(3..9, &mut |record| {
            seen.push(record.sequence);
            if record.sequence == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .expect("readable");
    assert_eq!(seen, [3, 4, 5, 6], "a visit ends when the visitor wants");
    seen.clear();
    journal
        .visit(3..5, &mut |record| {
            seen.push(record.sequence);
            ControlFlow::Continue(())
        })
        .expect("readable");
    assert_eq!(seen, [3, 4], "a visit ends with its range");
    drop(journal);
    let mut journal = open();
    assert_eq!(records(&mut journal, 1), expected, "all records after opening again");
    assert_eq!(journal.append(&entries[..2]).expect("a batch"), 13..15, "numbers go on after opening again");
}

fn compaction<J: Journal>(mut open: impl FnMut() -> J) {
    let entries = one_of_each();
    let expected = numbered(1, &entries);
    let mut journal = open();
    journal.append(&entries[..4]).expect("a batch");
    journal.append(&entries[4..]).expect("a batch");
    journal.compact(0).expect("nothing to forget");
    journal.compact(1).expect("nothing to forget");
    assert_eq!(records(&mut journal, 0), expected, "nothing was forgotten");
    journal.compact(3).expect("the middle of a batch");
    assert_eq!(records(&mut journal, 0), expected[2..], "exactly what is below 3 was forgotten");
    assert_eq!(journal.status().expect("usable"), 3..13, "the rest is held");
    journal.compact(2).expect("already forgotten");
    drop(journal);
    let mut journal = open();
    assert_eq!(records(&mut journal, 0), expected[2..], "compaction lasts");
    journal.compact(100).expect("beyond the end");
    assert_eq!(records(&mut journal, 0), [], "everything was forgotten");
    drop(journal);
    let mut journal = open();
    assert_eq!(journal.append(&entries[..1]).expect("a batch"), 13..14, "numbers are never used again");
    assert_eq!(records(&mut journal, 0), numbered(13, &entries[..1]), "the journal goes on");
}

fn numbered(first: u64, entries: &[Entry]) -> Vec<Record> {
    (first..).zip(entries).map(|(sequence, entry)| Record { sequence, entry: entry.clone() }).collect()
}

fn contained(store: &impl Blobs, digests: &[Digest]) -> Vec<bool> {
    digests.iter().map(|digest| store.contains(digest)).collect()
}
