//! What belongs to one acknowledgement, what may go, and when to try again.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use kasmina_leyline::{CommandId, Monotonic, UnixTime};
use kasmina_rollback::{
    Digest, Entry, Epoch, Keeper, KeeperSettings, Storage, Store, StoreError,
    doubles::{MemoryStore, Operation, SimulatedDisk},
};

const SETTINGS: KeeperSettings = KeeperSettings {
    retention: Duration::from_secs(300),
    compact_after: 4,
    snapshot_after: 10,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(4),
};

#[test]
fn acknowledgement_costs_one_sync_of_the_journal() {
    let disk = SimulatedDisk::new();
    let Store { journal, blobs, .. } = Store::open_on(Arc::new(disk.clone())).unwrap();
    let mut keeper = Keeper::open(Box::new(journal), Box::new(blobs), SETTINGS, at(0)).unwrap();
    let before = (disk.operations(), disk.count(Operation::Sync));
    keeper.append(&[nonce(1), delta(&[])], at(1)).unwrap();
    assert_eq!((disk.operations() - before.0, disk.count(Operation::Sync) - before.1), (2, 1));
}

#[test]
fn failing_journal_is_asked_before_anything_is_written() {
    let (store, mut keeper) = open();
    store.refuse_with(Some(StoreError::Unusable { path: "memory".into() }));
    for second in 0..50 {
        assert_eq!(reason(keeper.ready(at(second))), Err("unusable"));
        assert_eq!(reason(keeper.put(b"weights", at(second))), Err("unusable"));
    }
    assert_eq!((store.puts(), store.appends()), (0, 0));
}

#[test]
fn failed_append_leaves_no_blob_behind_and_backs_off() {
    let (store, mut keeper) = open();
    let mut tries = 0;
    for tenth in 0..150 {
        let now = Monotonic::from_millis(tenth * 100);
        if keeper.ready(now).is_err() {
            assert_eq!(reason(keeper.append(&[nonce(1)], now)), Err("backing_off"));
            continue;
        }
        tries += 1;
        let blob = keeper.put(&[tenth as u8; 100], now).unwrap();
        store.fail_next_append();
        assert_eq!(reason(keeper.append(&[delta(&[blob])], now)), Err("disk_full"));
        assert_eq!(store.digests(), [], "nothing is left behind");
    }
    assert_eq!(tries, 5, "at 0, 1, 3, 7 and 11 s");
    assert_eq!(store.appends(), tries);
    keeper.append(&[nonce(2)], at(15)).unwrap();
    assert_eq!(keeper.ready(at(15)), Ok(()), "a success ends the back-off");
}

#[test]
fn failed_put_leaves_no_blob_behind() {
    let (store, mut keeper) = open();
    keeper.put(b"first", at(0)).unwrap();
    store.fail_next_put();
    assert_eq!(reason(keeper.put(b"second", at(0))), Err("disk_full"));
    assert_eq!(store.digests(), []);
    assert_eq!(reason(keeper.ready(at(0))), Err("backing_off"));
}

#[test]
fn blob_that_was_there_already_outlives_a_failed_append() {
    let (store, mut keeper) = open();
    let blob = keeper.put(b"weights", at(0)).unwrap();
    keeper.append(&[delta(&[blob])], at(0)).unwrap();
    assert_eq!(keeper.put(b"weights", at(1)).unwrap(), blob);
    store.fail_next_append();
    assert!(keeper.append(&[delta(&[blob])], at(1)).is_err());
    assert_eq!((keeper.get(&blob).unwrap(), store.puts()), (b"weights".to_vec(), 1));
}

#[test]
fn entry_that_names_an_unknown_blob_is_refused() {
    let (store, mut keeper) = open();
    assert_eq!(reason(keeper.append(&[delta(&[Digest::of(b"nowhere")])], at(0))), Err("unstored_blob"));
    assert_eq!((store.appends(), keeper.ready(at(0))), (0, Ok(())));
}

#[test]
fn two_newest_snapshots_stay_usable_with_their_deltas_and_blobs() {
    let (store, mut keeper) = open();
    let mut blobs = Vec::new();
    for round in 0..5_u8 {
        let blob = keeper.put(&[round], at(0)).unwrap();
        keeper.snapshot(vec![round], vec![blob], at(0)).unwrap();
        let learned = keeper.put(&[round, round], at(0)).unwrap();
        keeper.append(&[delta(&[learned])], at(0)).unwrap();
        blobs.extend([blob, learned]);
    }
    assert_eq!(keeper.snapshots().collect::<Vec<_>>(), [9, 7]);
    assert_eq!(keeper.status(), Ok(5..11), "compacted when four were surplus");
    let mut kept = blobs[6..].to_vec();
    kept.sort();
    assert_eq!(store.digests(), kept);
}

#[test]
fn damaged_newest_snapshot_leaves_the_one_before_and_its_deltas() {
    let (store, mut keeper) = open();
    let put = |keeper: &mut Keeper, bytes: &[u8]| keeper.put(bytes, at(0)).unwrap();
    let old = put(&mut keeper, b"old");
    keeper.snapshot(vec![1], vec![old], at(0)).unwrap();
    let learned = put(&mut keeper, b"learned");
    keeper.append(&[delta(&[learned])], at(0)).unwrap();
    let new = put(&mut keeper, b"new");
    keeper.snapshot(vec![2], vec![new], at(0)).unwrap();
    keeper.append(&[delta(&[])], at(0)).unwrap();
    store.damage(&new);

    let mut keeper = reopen(&store);
    let snapshots: Vec<_> = keeper.snapshots().collect();
    assert_eq!(snapshots, [3, 1]);
    let mut whole = |sequence: u64| {
        let mut blobs = Vec::new();
        keeper
            .visit(sequence..sequence + 1, &mut |record| {
                blobs.extend_from_slice(record.entry.blobs());
                ControlFlow::Continue(())
            })
            .unwrap();
        blobs.iter().all(|blob| keeper.get(blob).is_ok())
    };
    assert_eq!(snapshots.into_iter().find(|sequence| whole(*sequence)), Some(1));
    assert!(keeper.get(&learned).is_ok(), "the delta after it can be applied");
}

#[test]
fn epoch_outlives_compaction_until_it_is_dropped() {
    let (store, mut keeper) = open();
    let blob = keeper.put(b"host", at(0)).unwrap();
    let epoch = Epoch { epoch: 7, step: 70, bytes: vec![1], blobs: vec![blob] };
    keeper.epoch(&epoch, at(0)).unwrap();
    // Snapshots that were appended by hand do not carry the epoch along, so nothing after it may go.
    for _ in 0..6 {
        keeper.append(&[Entry::Snapshot { bytes: vec![], blobs: vec![] }], at(0)).unwrap();
    }
    assert_eq!(keeper.status(), Ok(1..8));
    (0..3).for_each(|_| assert!(keeper.snapshot(vec![], vec![], at(0)).is_ok()));
    assert_eq!(keeper.status().unwrap().start, 7);
    let mut keeper = reopen(&store);
    assert_eq!(keeper.epochs().collect::<Vec<_>>(), [&epoch]);
    assert_eq!(keeper.get(&blob).unwrap(), b"host");
    keeper.drop_epoch(7, at(0)).unwrap();
    assert_eq!((keeper.epochs().count(), store.digests()), (0, vec![]));
}

#[test]
fn journal_is_compacted_when_no_command_ever_comes() {
    let (_store, mut keeper) = open();
    for step in 0..200 {
        keeper.append(&[delta(&[])], at(step)).unwrap();
        if keeper.snapshot_due() {
            keeper.snapshot(vec![], vec![], at(step)).unwrap();
        }
    }
    let held = keeper.status().unwrap();
    assert!(held.end - held.start < 30, "{held:?}");
}

#[test]
fn nonce_is_kept_for_the_retention_and_then_goes() {
    let (store, mut keeper) = open();
    keeper.append(&[nonce(1)], at(100)).unwrap();
    (0..6).for_each(|_| assert!(keeper.snapshot(vec![], vec![], at(100)).is_ok()));
    keeper.tick(at(400));
    assert_eq!(keeper.status().unwrap().start, 1, "300 s old");
    keeper.tick(at(401));
    assert_eq!(keeper.status().unwrap().start, 6);
    drop(keeper);

    keeper = reopen(&store);
    keeper.append(&[nonce(2)], at(0)).unwrap();
    (0..6).for_each(|_| assert!(keeper.snapshot(vec![], vec![], at(0)).is_ok()));
    keeper.retain_nonces_since(at(1));
    keeper.tick(at(1));
    assert_eq!(keeper.status().unwrap().start, 13, "given up by hand");
}

#[test]
fn nonce_of_an_earlier_process_is_kept_for_the_whole_retention() {
    let (store, mut keeper) = open();
    keeper.append(&[nonce(1)], at(100)).unwrap();
    (0..6).for_each(|_| assert!(keeper.snapshot(vec![], vec![], at(100)).is_ok()));
    drop(keeper);
    let mut keeper = Keeper::open(Box::new(store.clone()), Box::new(store), SETTINGS, at(5000)).unwrap();
    keeper.tick(at(5300));
    assert_eq!(keeper.status().unwrap().start, 1);
    keeper.tick(at(5301));
    assert_eq!(keeper.status().unwrap().start, 6);
}

#[test]
fn pinned_record_stays() {
    let (_store, mut keeper) = open();
    keeper.append(&[Entry::Telemetry { packet: vec![1] }], at(0)).unwrap();
    keeper.pin(Some(1));
    (0..6).for_each(|_| assert!(keeper.snapshot(vec![], vec![], at(0)).is_ok()));
    assert_eq!(keeper.status().unwrap().start, 1);
    keeper.pin(None);
    keeper.tick(at(0));
    assert_eq!(keeper.status().unwrap().start, 6);
}

#[test]
fn unnamed_blobs_are_swept_when_the_store_opens() {
    let (store, mut keeper) = open();
    keeper.put(b"killed before the append", at(0)).unwrap();
    drop(keeper);
    let mut keeper = reopen(&store);
    assert_eq!(store.digests(), []);
    let mut count = 0;
    keeper
        .visit(0..u64::MAX, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(count, 0);
}

#[test]
fn damaged_blob_of_an_epoch_does_not_stop_snapshots() {
    let disk = SimulatedDisk::new();
    let Store { journal, blobs, .. } = Store::open_on(Arc::new(disk.clone())).unwrap();
    let mut keeper = Keeper::open(Box::new(journal), Box::new(blobs), SETTINGS, at(0)).unwrap();
    let blob = keeper.put(b"weights", at(0)).unwrap();
    keeper.epoch(&Epoch { epoch: 1, step: 10, bytes: vec![1], blobs: vec![blob] }, at(0)).unwrap();
    disk.write(&format!("{blob}.blob"), 0, b"W").unwrap();
    assert_eq!(reason(keeper.get(&blob)), Err("corrupt_blob"));
    for second in 1..20 {
        keeper.snapshot(vec![1], vec![], at(second)).unwrap();
    }
    assert!(keeper.status().unwrap().start > 1, "the journal is compacted");
    assert_eq!(keeper.epochs().count(), 1, "what is left of the epoch can still be read");
}

fn open() -> (MemoryStore, Keeper) {
    let store = MemoryStore::new();
    let keeper = reopen(&store);
    (store, keeper)
}

fn reopen(store: &MemoryStore) -> Keeper {
    Keeper::open(Box::new(store.clone()), Box::new(store.clone()), SETTINGS, at(0)).unwrap()
}

const fn at(second: u64) -> Monotonic {
    Monotonic::from_millis(second * 1000)
}

fn nonce(number: u8) -> Entry {
    let command_id = CommandId::new(format!("command-{number}")).unwrap();
    Entry::NonceSeen { command_id, issued_at: UnixTime::from_millis(number.into()) }
}

fn delta(blobs: &[Digest]) -> Entry {
    Entry::Delta { bytes: vec![1], blobs: blobs.to_vec() }
}

fn reason<T>(result: Result<T, StoreError>) -> Result<T, &'static str> {
    result.map_err(|error| error.reason())
}
