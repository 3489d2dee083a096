//! The files of a store.

use std::{ops::ControlFlow, path::Path};

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};
use kasmina_rollback::{Entry, Journal, Record, Store, StoreError};

use crate::{
    blob,
    choices::Choices,
    directory::{read, with_empty, write},
    forge,
};

const LONGEST: usize = 8 << 10;

/// Bytes of a journal, of a blob and of an entry: what is read back is what was written, or an error.
pub fn journal(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(LONGEST)]);
    let kind = choices.byte() % 5;
    with_empty(|store| match kind {
        0 => drop(opened(store, choices.rest())),
        1 => spoilt(store, &mut choices),
        2 => drop(opened(store, &forge::journal(&mut choices))),
        3 => blob::spoilt(store, &mut choices),
        _ => decoded(choices.rest()),
    });
}

fn decoded(bytes: &[u8]) {
    match Entry::decode(bytes) {
        Ok(entry) => assert_eq!(Entry::decode(&entry.encode().expect("an entry")).as_ref(), Ok(&entry)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// All records, or the first error.
fn read_all(store: &mut Store) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    store.journal.visit(0..u64::MAX, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(records)
}

/// A journal that somebody changed: what is read is a beginning of what was written.
fn spoilt(store: &Path, choices: &mut Choices<'_>) {
    let mut original = Vec::new();
    let mut journal = Store::open(store).expect("an empty directory").journal;
    for _ in 0..=choices.below(3) {
        let batch: Vec<_> = (0..=choices.below(3)).map(|_| entry(choices)).collect();
        journal.append(&batch).expect("an append");
        original.extend(batch);
    }
    drop(journal);
    let whole = read(&store.join("journal"));
    let mut bytes = whole.clone();
    choices.spoil(&mut bytes);
    let Some(records) = opened(store, &bytes) else { return };
    let entries: Vec<_> = records.iter().map(|record| record.entry.clone()).collect();
    assert!(original.starts_with(&entries), "read back as something else: {entries:?}");
    assert!(records.iter().zip(1..).all(|(record, sequence)| record.sequence == sequence));
    assert!(bytes != whole || entries == original);
}

/// Opens a store with these bytes as its journal. Gives the records, where they can be read.
fn opened(store: &Path, bytes: &[u8]) -> Option<Vec<Record>> {
    let path = store.join("journal");
    write(&path, bytes);
    let audit = Store::audit(store);
    let mut open = match Store::open(store) {
        Ok(open) => open,
        Err(error) => {
            assert_eq!(audit, Err(error.clone()), "audit and open agree");
            assert_eq!(read(&path), bytes, "left as it was");
            salvaged(store, bytes, &error);
            return None;
        }
    };
    let recovery = open.recovery.clone();
    let held = recovery.first_sequence..recovery.next_sequence;
    let records = read_all(&mut open);
    match (&records, &recovery.torn_tail) {
        (_, Some(torn)) => assert_eq!(audit.as_ref(), Err(torn)),
        (Ok(records), None) if audit.is_err() => {
            assert_eq!(audit.map_err(|error| error.reason()), Err("unknown_blob"), "no blob is stored here");
            assert!(records.iter().any(|record| !record.entry.blobs().is_empty()));
        }
        (Ok(records), None) => assert_eq!(audit.map(|audit| audit.records), Ok(records.len() as u64)),
        (Err(error), None) => assert_eq!(audit.as_ref(), Err(error)),
    }
    match &records {
        Ok(records) => assert!(records.iter().map(|record| record.sequence).eq(held.clone()), "{held:?}: {records:?}"),
        Err(error) => assert!(["unreadable_record", "corrupt"].contains(&error.reason()), "{error}"),
    }

    let more = Entry::Telemetry { packet: vec![7] };
    let appended = open.journal.append(std::slice::from_ref(&more));
    drop(open);
    let mut again = Store::open(store).expect("what was opened and appended to opens again");
    assert_eq!(again.recovery.torn_tail, None);
    let Ok(range) = appended else {
        assert_eq!(again.recovery.next_sequence, held.end, "a refused append leaves nothing behind");
        assert!(held.end > u64::MAX / 2, "{appended:?}");
        return records.ok();
    };
    assert_eq!((range.start, range.end), (held.end, held.end + 1));
    let Ok(records) = records else {
        assert_eq!(read_all(&mut again).map(|_| ()), records.map(|_| ()), "an append does not mend");
        return None;
    };
    let mut both = records.clone();
    both.push(Record { sequence: range.start, entry: more });
    assert_eq!(read_all(&mut again).as_ref(), Ok(&both), "the old ones and the new one");
    let middle = held.start + (held.end - held.start) / 2;
    again.journal.compact(middle).expect("compacting what can be read");
    both.retain(|record| record.sequence >= middle);
    assert_eq!(read_all(&mut again).as_ref(), Ok(&both), "compacting forgets nothing else");
    Some(records)
}

/// A damaged journal can be cut where the damage begins, unless that is its header.
fn salvaged(store: &Path, bytes: &[u8], error: &StoreError) {
    match Store::salvage(store) {
        Ok(Some(salvage)) => {
            assert_eq!(&salvage.damage, error);
            let cut = error.offset().expect("damage has a place") as usize;
            assert_eq!(read(&salvage.kept), bytes[cut..], "what was cut off is kept");
            assert_eq!(read(&store.join("journal")), bytes[..cut]);
            let again = Store::open(store).expect("a salvaged journal opens");
            assert_eq!((again.recovery.next_sequence, &again.recovery.torn_tail), (salvage.next_sequence, &None));
        }
        Ok(None) => panic!("not opened, and nothing to salvage: {error}"),
        Err(other) => {
            assert_eq!(&other, error);
            assert!(
                ["not_a_store", "truncated", "corrupt", "newer_version", "older_version"].contains(&error.reason()),
                "{error}"
            );
        }
    }
}

/// An entry of any kind.
fn entry(choices: &mut Choices<'_>) -> Entry {
    let command_id = CommandId::new(format!("c{}", choices.byte())).expect("visible");
    let at = UnixTime::from_nanos(i64::from_le_bytes(choices.number()));
    match choices.byte() % 12 {
        0 => Entry::NonceSeen { command_id, issued_at: at },
        1 => Entry::Accepted { command_id, wire: choices.bytes(12).to_vec() },
        2 => Entry::Refused { command_id: choices.text(4), reason: choices.text(8) },
        3 => Entry::Ordered { description: choices.bytes(12).to_vec() },
        4 => Entry::Moved {
            seed_id: SeedId::new("s").expect("visible"),
            from: SeedLifecycleStage::try_from(i32::from(choices.byte() % 4)).unwrap_or_default(),
            to: SeedLifecycleStage::try_from(i32::from(choices.byte() % 4)).unwrap_or_default(),
            gate: SeedLifecycleGate::try_from(i32::from(choices.byte() % 8)).ok(),
            at,
        },
        5 => Entry::Delta { bytes: choices.bytes(12).to_vec(), blobs: Vec::new() },
        6 => Entry::Snapshot { bytes: choices.bytes(12).to_vec(), blobs: Vec::new() },
        7 => Entry::Epoch { epoch: 1, step: choices.byte().into(), bytes: Vec::new(), blobs: Vec::new() },
        8 => Entry::EpochDropped { epoch: choices.byte().into() },
        9 => Entry::RolledBack { seed_id: SeedId::new(choices.text(4)).ok(), epoch: choices.byte().into() },
        10 => Entry::Telemetry { packet: choices.bytes(12).to_vec() },
        _ => Entry::WatermarkReset { at },
    }
}
