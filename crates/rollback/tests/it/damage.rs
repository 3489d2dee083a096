//! Files that were cut off or changed: what comes back is right or an error that names the place, never a panic.
use std::{fs, ops::ControlFlow, path::Path};

use kasmina_rollback::{Blobs, Digest, Entry, Journal, Record, Store, StoreError, doubles::conformance};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

#[test]
fn journal_cut_anywhere_holds_a_prefix_of_whole_batches() {
    let directory = directory();
    let ends = journal(directory.path());
    let whole = fs::read(directory.path().join("journal")).unwrap();
    for length in 0..whole.len() {
        fs::write(directory.path().join("journal"), &whole[..length]).unwrap();
        let audited = Store::audit(directory.path());
        match Store::open(directory.path()) {
            Ok(mut store) => {
                let batches = ends.iter().filter(|end| **end <= length).count();
                let found = records(&mut store);
                assert_eq!(found.len(), 3 * batches, "cut at {length}");
                assert!(found.iter().all(|record| record.entry == entry(record.sequence)), "cut at {length}");
                let start = ends[..batches].last().map_or(32, |end| *end) as u64;
                let torn = store.recovery.torn_tail.clone();
                if start == length as u64 {
                    assert_eq!(torn, None);
                    assert_eq!(audited.unwrap().records, found.len() as u64);
                } else {
                    assert_eq!(torn.as_ref(), audited.as_ref().err(), "cut at {length}");
                    assert!(
                        matches!(&torn, Some(StoreError::TornTail { offset, bytes, .. })
                        if *offset == start && *bytes == length as u64 - start),
                        "cut at {length}: {torn:?}"
                    );
                }
                // It goes on from there, and nothing of the tail shows up again.
                let next = store.recovery.next_sequence;
                store.journal.append(&[entry(next)]).unwrap();
                drop(store);
                let mut store = Store::open(directory.path()).unwrap();
                assert_eq!(store.recovery.torn_tail, None);
                assert_eq!(records(&mut store).len(), found.len() + 1);
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
fn flipped_bit_of_journal_is_an_error() {
    let directory = directory();
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
fn journal_damaged_while_open_is_not_read() {
    let directory = directory();
    journal(directory.path());
    let mut store = Store::open(directory.path()).unwrap();
    let path = directory.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(
        store.journal.visit(0..9, &mut |_| ControlFlow::Continue(())).map_err(|error| error.reason()),
        Err("corrupt")
    );
    fs::write(&path, &whole[..100]).unwrap();
    assert_eq!(
        store.journal.visit(0..9, &mut |_| ControlFlow::Continue(())).map_err(|error| error.reason()),
        Err("truncated")
    );
    assert_eq!(store.journal.compact(2).map_err(|error| error.reason()), Err("truncated"));
}

#[test]
fn salvage_keeps_what_is_before_the_damage() {
    let directory = directory();
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
    assert_eq!(store.recovery.next_sequence, salvage.next_sequence);
    assert_eq!(records(&mut store).len(), 6);
}

#[test]
fn hole_in_last_frame_is_a_torn_tail() {
    let directory = directory();
    let path = directory.path().join("journal");
    let mut store = Store::open(directory.path()).unwrap();
    store.journal.append(&[entry(1)]).unwrap();
    let start = fs::metadata(&path).unwrap().len();
    store.journal.append(&[Entry::Telemetry { packet: vec![7; 12 << 10] }]).unwrap();
    let whole = fs::read(&path).unwrap();
    store.journal.append(&[entry(3)]).unwrap();
    let longer = fs::read(&path).unwrap();
    drop(store);
    for hole in [4096..8192, start as usize..512, 512..1024, whole.len() / 512 * 512..whole.len()] {
        let mut bytes = whole.clone();
        bytes[hole.clone()].fill(0);
        fs::write(&path, &bytes).unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let torn = StoreError::TornTail { path: path.clone(), offset: start, bytes: whole.len() as u64 - start };
        assert_eq!(store.recovery.torn_tail, Some(torn), "{hole:?}");
        assert_eq!(records(&mut store).len(), 1, "{hole:?}");
        drop(store);

        // The same hole in front of a whole frame: that batch was acknowledged.
        let mut bytes = longer.clone();
        bytes[hole.clone()].fill(0);
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(directory.path()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { offset, .. } if *offset == start), "{hole:?}: {error}");
        assert_eq!(Store::salvage(directory.path()).unwrap().unwrap().damage, error);
        assert_eq!(records(&mut Store::open(directory.path()).unwrap()).len(), 1);
        fs::remove_file(directory.path().join(format!("journal.damaged-{start}"))).unwrap();
    }
}

#[test]
fn batch_torn_at_any_byte_is_a_torn_tail() {
    let directory = directory();
    let ends = journal(directory.path());
    let path = directory.path().join("journal");
    let whole = fs::read(&path).unwrap();
    for written in ends[3]..whole.len() - 8 {
        let mut bytes = whole.clone();
        bytes[written..].fill(0);
        fs::write(&path, &bytes).unwrap();
        let damage = Store::audit(directory.path()).map(|_| ()).unwrap_err();
        assert!(
            matches!(damage, StoreError::TornTail { offset, .. } if offset == ends[3] as u64),
            "{written}: {damage:?}"
        );
    }
}

#[test]
fn gap_between_batches_is_named() {
    let directory = directory();
    let ends = journal(directory.path());
    let path = directory.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes.drain(ends[0]..ends[1]);
    fs::write(&path, &bytes).unwrap();
    let gap = StoreError::Gap { path, offset: ends[0] as u64, expected: 4, got: 7 };
    assert_eq!(Store::open(directory.path()).map(|_| ()), Err(gap));
}

#[test]
fn blob_cut_or_flipped_anywhere_is_refused_and_named() {
    let directory = directory();
    let whole: Vec<u8> = (0..70).collect();
    let mut store = Store::open(directory.path()).unwrap();
    let digest = store.blobs.put_all(&[&whole]).unwrap()[0];
    let blobs = vec![digest];
    store.journal.append(&[Entry::Snapshot { bytes: vec![], blobs }]).unwrap();
    drop(store);
    let path = directory.path().join(format!("{digest}.blob"));
    assert_eq!(fs::read(&path).unwrap(), whole, "the file is the blob");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = StoreError::CorruptBlob { path: path.clone(), expected: digest, got: Digest::of(bytes) };
        assert_eq!(Store::open(directory.path()).unwrap().blobs.get(&digest), Err(error.clone()));
        assert_eq!(Store::audit(directory.path()).map(|_| ()), Err(error));
    };
    for at in 0..whole.len() {
        refused(&whole[..at]);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes);
    }
    refused(&[&whole[..], &[0]].concat());
    fs::remove_file(&path).unwrap();
    let missing = StoreError::UnknownBlob { digest };
    assert_eq!(Store::audit(directory.path()).map(|_| ()), Err(missing.clone()));
    assert_eq!(Store::open(directory.path()).unwrap().blobs.get(&digest), Err(missing));
}

#[test]
fn audit_counts_what_is_there_and_names_damage_of_the_previous_state() {
    let directory = directory();
    let mut store = Store::open(directory.path()).unwrap();
    let blobs = store.blobs.put_all(&[b"old", b"new", b"learned", b"epoch", b"unnamed"]).unwrap();
    let snapshot = |at: usize| Entry::Snapshot { bytes: vec![1], blobs: vec![blobs[at]] };
    store.journal.append(&[snapshot(0), snapshot(1)]).unwrap();
    store.journal.append(&[Entry::Delta { bytes: vec![], blobs: vec![blobs[2]] }]).unwrap();
    store.journal.append(&[Entry::Epoch { epoch: 4, step: 40, bytes: vec![], blobs: vec![blobs[3]] }]).unwrap();
    drop(store);
    let audit = Store::audit(directory.path()).unwrap();
    assert_eq!((audit.records, &audit.snapshots[..], &audit.epochs[..]), (4, &[2, 1][..], &[4][..]));
    assert_eq!((audit.blobs, audit.blob_bytes, audit.other_blobs, audit.previous_damage), (3, 15, 2, None));
    fs::remove_file(directory.path().join(format!("{}.blob", blobs[0]))).unwrap();
    let audit = Store::audit(directory.path()).unwrap();
    assert_eq!(audit.previous_damage, Some(StoreError::UnknownBlob { digest: blobs[0] }));
}

proptest! {
    #[test]
    fn overwritten_journal_gives_a_prefix_or_an_error(at: prop::sample::Index, garbage in vec(any::<u8>(), 1..120)) {
        let directory = directory();
        journal(directory.path());
        let path = directory.path().join("journal");
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + garbage.len());
        bytes.splice(at..end, garbage);
        fs::write(&path, &bytes).unwrap();
        if let Ok(mut store) = Store::open(directory.path()) {
            let records = records(&mut store);
            prop_assert!(records.iter().map(|record| record.sequence).eq(1..records.len() as u64 + 1));
            prop_assert!(records.iter().all(|record| record.entry == entry(record.sequence)));
        }
    }

    #[test]
    fn any_bytes_are_a_journal_or_an_error(headed: bool, garbage in vec(any::<u8>(), 0..400)) {
        let directory = directory();
        drop(Store::open(directory.path()).unwrap());
        let path = directory.path().join("journal");
        let mut bytes = if headed { fs::read(&path).unwrap() } else { Vec::new() };
        bytes.extend(garbage);
        fs::write(&path, &bytes).unwrap();
        if let Ok(mut store) = Store::open(directory.path()) {
            prop_assert_eq!(records(&mut store), []);
        }
        drop(Store::salvage(directory.path()));
    }
}

/// Five batches of three records. Gives where each ends in the file.
fn journal(directory: &Path) -> Vec<usize> {
    let mut store = Store::open(directory).unwrap();
    (0..5_u64)
        .map(|batch| {
            store.journal.append(&[entry(batch * 3 + 1), entry(batch * 3 + 2), entry(batch * 3 + 3)]).unwrap();
            fs::metadata(directory.join("journal")).unwrap().len() as usize
        })
        .collect()
}

/// In memory if there is such a place: these tests open stores by the thousand, and are not about the disk.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn records(store: &mut Store) -> Vec<Record> {
    conformance::records(&mut store.journal, 0)
}

fn entry(sequence: u64) -> Entry {
    Entry::Telemetry { packet: (0..sequence as u8 + 10).map(|byte| byte.wrapping_mul(37) ^ sequence as u8).collect() }
}

#[test]
fn second_salvage_at_the_same_place_keeps_what_the_first_has_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let kept: Vec<_> = [b"first", b"other"]
        .into_iter()
        .map(|text| {
            let entry = Entry::Ordered { description: text.to_vec() };
            Store::open(directory.path()).unwrap().journal.append(&[entry]).unwrap();
            let mut bytes = std::fs::read(&journal).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&journal, bytes).unwrap();
            Store::salvage(directory.path()).unwrap().unwrap().kept
        })
        .collect();
    for (path, text) in kept.iter().zip([b"first", b"other"]) {
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.windows(text.len()).any(|window| window == text), "{}", path.display());
    }
    Store::open(directory.path()).unwrap();
}
