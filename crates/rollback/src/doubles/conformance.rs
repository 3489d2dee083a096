//! What every journal and every checkpoint store has to do.
#![expect(clippy::expect_used, reason = "a suite for tests: it fails by panicking")]

use std::collections::BTreeMap;

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};

use crate::{Checkpoint, CheckpointId, CheckpointStore, Entry, Journal, Record};

/// Runs the suite. `build` makes a fresh, empty place and gives a function that opens it; the suite drops a store before it
/// opens the place again.
///
/// # Panics
/// Where the store does not do what [`Journal`] and [`CheckpointStore`] promise.
pub fn conformance<S, Open>(mut build: impl FnMut() -> Open)
where
    S: Journal + CheckpointStore,
    Open: FnMut() -> S,
{
    numbers_and_order(build());
    compaction(build());
    checkpoints(build());
    retention(build());
}

fn numbers_and_order<S: Journal>(mut open: impl FnMut() -> S) {
    let entries = one_of_each();
    let mut store = open();
    assert_eq!(store.read(0).expect("an empty journal is readable"), [], "a fresh journal is empty");
    assert_eq!(store.append(&[]).expect("an empty batch is no error"), 1..1, "an empty batch takes no number");
    assert_eq!(store.append(&entries[..1]).expect("the first batch"), 1..2, "numbers begin with 1");
    assert_eq!(store.append(&entries[1..]).expect("the second batch"), 2..9, "numbers follow each other");
    let expected = numbered(1, &entries);
    assert_eq!(store.read(0).expect("readable"), expected, "all records in order");
    assert_eq!(store.read(4).expect("readable"), expected[3..], "from the middle of a batch");
    assert_eq!(store.read(9).expect("readable"), [], "from behind the end");
    drop(store);
    let mut store = open();
    assert_eq!(store.read(1).expect("readable"), expected, "all records after opening again");
    assert_eq!(store.append(&entries[..2]).expect("a batch"), 9..11, "numbers go on after opening again");
}

fn compaction<S: Journal>(mut open: impl FnMut() -> S) {
    let entries = one_of_each();
    let expected = numbered(1, &entries);
    let mut store = open();
    store.append(&entries[..4]).expect("a batch");
    store.append(&entries[4..]).expect("a batch");
    store.compact(0).expect("nothing to forget");
    store.compact(1).expect("nothing to forget");
    assert_eq!(store.read(0).expect("readable"), expected, "nothing was forgotten");
    store.compact(3).expect("the middle of a batch");
    assert_eq!(store.read(0).expect("readable"), expected[2..], "exactly what is below 3 was forgotten");
    store.compact(2).expect("already forgotten");
    drop(store);
    let mut store = open();
    assert_eq!(store.read(0).expect("readable"), expected[2..], "compaction lasts");
    store.compact(100).expect("beyond the end");
    assert_eq!(store.read(0).expect("readable"), [], "everything was forgotten");
    drop(store);
    let mut store = open();
    assert_eq!(store.append(&entries[..1]).expect("a batch"), 9..10, "numbers are never used again");
    assert_eq!(store.read(0).expect("readable"), numbered(9, &entries[..1]), "the journal goes on");
}

fn checkpoints<S: CheckpointStore>(mut open: impl FnMut() -> S) {
    let mut store = open();
    let unknown = store.load(&id("nowhere")).map_err(|error| error.reason());
    assert_eq!(unknown, Err("unknown_checkpoint"), "an unknown checkpoint");
    let (full, empty) = (checkpoint("full", 2, 3), checkpoint("empty", 1, 0));
    store.save(&full).expect("saved");
    store.save(&empty).expect("saved");
    let again = store.save(&checkpoint("full", 9, 1)).map_err(|error| error.reason());
    assert_eq!(again, Err("checkpoint_exists"), "a checkpoint is never overwritten");
    drop(store);
    let mut store = open();
    assert_eq!(store.load(&full.id).expect("loaded"), full, "every blob comes back");
    assert_eq!(store.load(&empty.id).expect("loaded"), empty, "a checkpoint without blobs comes back");
}

fn retention<S: CheckpointStore>(mut open: impl FnMut() -> S) {
    let mut store = open();
    for (name, sequence) in [("c", 3), ("a.1", 1), ("a", 1), ("b", 2)] {
        store.save(&checkpoint(name, sequence, 2)).expect("saved");
    }
    let names = |store: &mut S| -> Vec<String> {
        let listed = store.retain(&mut |_| true).expect("listed");
        listed.into_iter().map(|summary| summary.id.to_string()).collect()
    };
    assert_eq!(names(&mut store), ["a", "a.1", "b", "c"], "oldest first");
    let kept = store.retain(&mut |summary| summary.sequence != 2 && summary.id.as_str() != "a").expect("pruned");
    assert_eq!(kept.len(), 2, "two were kept");
    assert!(kept.iter().all(|summary| summary.damage.is_none() && summary.bytes > 0), "none is damaged");
    let gone = store.load(&id("b")).map_err(|error| error.reason());
    assert_eq!(gone, Err("unknown_checkpoint"), "a deleted checkpoint");
    drop(store);
    let mut store = open();
    assert_eq!(names(&mut store), ["a.1", "c"], "deletion lasts");
    store.save(&checkpoint("b", 2, 2)).expect("a name can be used again once it is free");
    assert_eq!(store.load(&id("b")).expect("loaded"), checkpoint("b", 2, 2), "the new one");
}

fn one_of_each() -> Vec<Entry> {
    let command_id = CommandId::new("command-1").expect("an id");
    vec![
        Entry::NonceSeen { command_id: command_id.clone(), issued_at: UnixTime::from_nanos(-5) },
        Entry::CommandAccepted { command_id, wire: vec![0, 255, 7] },
        Entry::CommandRefused { command_id: String::new(), reason: "missing_command_id".to_owned() },
        Entry::Transition {
            seed_id: SeedId::new("seed-1").expect("an id"),
            from: SeedLifecycleStage::SeedStageDormant,
            to: SeedLifecycleStage::SeedStageGerminated,
            gate: Some(SeedLifecycleGate::SeedGateG0Sanity),
            at: UnixTime::from_millis(1_700_000_000_000),
        },
        Entry::Telemetry { packet: vec![9; 300] },
        Entry::RolledBack { seed_id: Some(SeedId::new("seed-1").expect("an id")), epoch: 3 },
        Entry::RolledBack { seed_id: None, epoch: 3 },
        Entry::Checkpoint { id: id("checkpoint-1") },
    ]
}

fn numbered(first: u64, entries: &[Entry]) -> Vec<Record> {
    (first..).zip(entries).map(|(sequence, entry)| Record { sequence, entry: entry.clone() }).collect()
}

fn checkpoint(name: &str, sequence: u64, blobs: u8) -> Checkpoint {
    let blobs: BTreeMap<_, _> =
        (0..blobs).map(|blob| (format!("../blob {blob}"), vec![blob; usize::from(blob) * 1000])).collect();
    Checkpoint { id: id(name), at: UnixTime::from_millis(5), sequence, blobs }
}

fn id(name: &str) -> CheckpointId {
    CheckpointId::new(name).expect("a name")
}
