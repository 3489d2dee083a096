//! Files that were cut off or changed: what comes back is right or an error that names the place, never a panic.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeMap, fs, path::Path};

use kasmina_leyline::UnixTime;
use kasmina_rollback::{Checkpoint, CheckpointId, CheckpointStore, Entry, Journal, Store, StoreError};
use proptest::{collection::vec, prelude::*};

#[test]
fn a_journal_cut_anywhere_holds_a_prefix_of_whole_batches() {
    let directory = tempfile::tempdir().unwrap();
    let ends = journal(directory.path());
    let whole = fs::read(directory.path().join("journal")).unwrap();
    for length in 0..whole.len() {
        fs::write(directory.path().join("journal"), &whole[..length]).unwrap();
        let audited = Store::audit(directory.path());
        match Store::open(directory.path()) {
            Ok(mut store) => {
                let batches = ends.iter().filter(|end| **end <= length).count();
                let records = store.read(0).unwrap();
                assert_eq!(records.len(), 3 * batches, "cut at {length}");
                assert!(records.iter().all(|record| record.entry == entry(record.sequence)), "cut at {length}");
                let start = ends[..batches].last().map_or(32, |end| *end) as u64;
                let torn = store.recovery().torn_tail.clone();
                if start == length as u64 {
                    assert_eq!(torn, None);
                    assert_eq!(audited.unwrap().records, records.len() as u64);
                } else {
                    assert_eq!(torn.as_ref(), audited.as_ref().err(), "cut at {length}");
                    assert!(
                        matches!(&torn, Some(StoreError::TornTail { offset, bytes, .. })
                        if *offset == start && *bytes == length as u64 - start),
                        "cut at {length}: {torn:?}"
                    );
                }
                // It goes on from there, and nothing of the tail shows up again.
                let next = store.recovery().next_sequence;
                store.append(&[entry(next)]).unwrap();
                drop(store);
                let mut store = Store::open(directory.path()).unwrap();
                assert_eq!(store.recovery().torn_tail, None);
                assert_eq!(store.read(0).unwrap().len(), records.len() + 1);
            }
            Err(error) => {
                assert!(length < 32, "cut at {length}: {error}");
                assert!(matches!(error.reason(), "truncated" | "not_a_store"), "cut at {length}: {error}");
                assert_eq!(fs::read(directory.path().join("journal")).unwrap(), whole[..length], "left as it was");
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_journal_is_noticed_and_nothing_is_lost_silently() {
    let directory = tempfile::tempdir().unwrap();
    let ends = journal(directory.path());
    let path = directory.path().join("journal");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for bit in [at % 8, (at / 8 + 3) % 8] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            let error = Store::open(directory.path()).map(|_| ()).unwrap_err();
            let start = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(if at < 32 { 0 } else { 32 });
            match at {
                0..8 => assert_eq!(error.reason(), "not_a_store", "flip at {at}"),
                _ => assert!(
                    matches!(&error, StoreError::Corrupt { offset, .. } if *offset == start as u64),
                    "flip at {at}: {error}"
                ),
            }
            assert_eq!(Store::audit(directory.path()).map(|_| ()), Err(error), "flip at {at}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "left as it was");
        }
    }
}

#[test]
fn a_file_that_is_damaged_while_it_is_open_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    journal(directory.path());
    let mut store = Store::open(directory.path()).unwrap();
    let path = directory.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(store.read(0).map_err(|error| error.reason()), Err("corrupt"));
    fs::write(&path, &whole[..100]).unwrap();
    assert_eq!(store.read(0).map_err(|error| error.reason()), Err("truncated"));
    assert_eq!(store.compact(2).map_err(|error| error.reason()), Err("truncated"));
}

#[test]
fn a_person_can_salvage_what_is_before_the_damage() {
    let directory = tempfile::tempdir().unwrap();
    let ends = journal(directory.path());
    let path = directory.path().join("journal");
    assert_eq!(Store::salvage(directory.path()), Ok(None));
    let mut bytes = fs::read(&path).unwrap();
    bytes[ends[1] + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let salvage = Store::salvage(directory.path()).unwrap().unwrap();
    assert_eq!((salvage.damage.reason(), salvage.damage.offset()), ("corrupt", Some(ends[1] as u64)));
    assert_eq!(fs::read(&salvage.kept).unwrap(), bytes[ends[1]..]);
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.recovery().next_sequence, salvage.next_sequence);
    assert_eq!(store.read(0).unwrap().len(), 6);
}

#[test]
fn a_checkpoint_cut_or_flipped_anywhere_is_refused_and_the_blob_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let id = CheckpointId::new("c").unwrap();
    let blobs = BTreeMap::from([("host".to_owned(), vec![7; 90]), ("seed".to_owned(), (0..70).collect::<Vec<u8>>())]);
    let checkpoint = Checkpoint { id: id.clone(), at: UnixTime::from_millis(3), sequence: 4, blobs };
    store.save(&checkpoint).unwrap();
    let path = directory.path().join("checkpoints/c.ckpt");
    let whole = fs::read(&path).unwrap();
    let (seed_at, host_at) = (whole.len() - 70, whole.len() - 160);
    for at in 0..whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let error = store.load(&id).unwrap_err();
        assert!(matches!(&error, StoreError::Truncated { offset, .. } if *offset == at as u64), "cut at {at}: {error}");
        let listed = store.retain(&mut |_| true).unwrap();
        assert_eq!(listed[0].damage, Some(error), "cut at {at}");

        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let error = store.load(&id).unwrap_err();
        if at >= host_at {
            let (name, start) = if at >= seed_at { ("seed", seed_at) } else { ("host", host_at) };
            assert!(
                matches!(&error, StoreError::CorruptBlob { blob, offset, .. } if blob == name && *offset == start as u64),
                "flip at {at}: {error}"
            );
        } else {
            assert!(matches!(error.reason(), "corrupt" | "not_a_store" | "truncated"), "flip at {at}: {error}");
        }
        drop(store);
        assert!(Store::audit(directory.path()).is_err(), "flip at {at}");
        store = Store::open(directory.path()).unwrap();
    }
    let mut longer = whole.clone();
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    assert_eq!(store.load(&id).map_err(|error| error.offset()), Err(Some(whole.len() as u64)));
    fs::write(directory.path().join("checkpoints/d.ckpt"), &whole).unwrap();
    let renamed = store.load(&CheckpointId::new("d").unwrap()).unwrap_err();
    assert!(renamed.to_string().ends_with("the file was renamed"), "{renamed}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(store.load(&id), Ok(checkpoint));
    // Damaged checkpoints can be listed and deleted.
    let kept = store.retain(&mut |summary| summary.damage.is_none()).unwrap();
    assert_eq!(kept.into_iter().map(|summary| summary.id).collect::<Vec<_>>(), [id]);
}

proptest! {
    #[test]
    fn overwritten_parts_give_a_prefix_or_an_error(at: prop::sample::Index, garbage in vec(any::<u8>(), 1..120)) {
        let directory = tempfile::tempdir().unwrap();
        journal(directory.path());
        let path = directory.path().join("journal");
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + garbage.len());
        bytes.splice(at..end, garbage);
        fs::write(&path, &bytes).unwrap();
        if let Ok(mut store) = Store::open(directory.path()) {
            let records = store.read(0).unwrap();
            prop_assert!(records.iter().map(|record| record.sequence).eq(1..records.len() as u64 + 1));
            prop_assert!(records.iter().all(|record| record.entry == entry(record.sequence)));
        }
    }

    #[test]
    fn any_bytes_are_a_journal_or_an_error(headed: bool, garbage in vec(any::<u8>(), 0..400)) {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path()).unwrap());
        let path = directory.path().join("journal");
        let mut bytes = if headed { fs::read(&path).unwrap() } else { Vec::new() };
        bytes.extend(garbage);
        fs::write(&path, &bytes).unwrap();
        if let Ok(mut store) = Store::open(directory.path()) {
            prop_assert_eq!(store.read(0).unwrap(), []);
        }
        drop(Store::salvage(directory.path()));
    }
}

/// Five batches of three records. Gives where each ends in the file.
fn journal(directory: &Path) -> Vec<usize> {
    let mut store = Store::open(directory).unwrap();
    (0..5_u64)
        .map(|batch| {
            store.append(&[entry(batch * 3 + 1), entry(batch * 3 + 2), entry(batch * 3 + 3)]).unwrap();
            fs::metadata(directory.join("journal")).unwrap().len() as usize
        })
        .collect()
}

fn entry(sequence: u64) -> Entry {
    Entry::Telemetry { packet: (0..sequence as u8 + 10).map(|byte| byte.wrapping_mul(37) ^ sequence as u8).collect() }
}
