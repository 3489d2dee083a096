//! A checkpoint's file in a store.

use std::{collections::BTreeMap, path::Path};

use kasmina_leyline::UnixTime;
use kasmina_rollback::{Checkpoint, CheckpointId, CheckpointStore, Store};

use crate::{
    choices::Choices,
    directory::{checkpoints, read, write},
};

pub(crate) const NAME: &str = "c";
const EXTENSION: &str = "ckpt";
/// Magic, version, length of the header, SHA-256.
const PREFIX_BYTES: usize = 48;

/// Opens a store with these bytes as its only checkpoint. Gives it, where it can be loaded.
pub(crate) fn opened(store: &Path, bytes: &[u8]) -> Option<Checkpoint> {
    let id = CheckpointId::new(NAME).expect("a file name");
    let mut open = Store::open(store).expect("an empty directory");
    let path = checkpoints(store).join(NAME).with_extension(EXTENSION);
    write(&path, bytes);
    let listed = open.retain(&mut |_| true).expect("listing");
    let [summary] = listed.as_slice() else { panic!("one file, {} checkpoints", listed.len()) };
    assert_eq!((&summary.id, summary.bytes), (&id, bytes.len() as u64));
    let loaded = open.load(&id);
    if let Some(damage) = &summary.damage {
        assert_eq!(loaded.as_ref(), Err(damage), "what the list calls damaged is not loaded");
    }
    let audit = Store::audit(store);
    let checkpoint = match loaded {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            assert_eq!(audit, Err(error), "audit and load agree");
            assert_eq!(read(&path), bytes, "left as it was");
            return None;
        }
    };
    assert_eq!(audit.map(|audit| (audit.checkpoints, audit.checkpoint_bytes)), Ok((1, bytes.len() as u64)));
    assert_eq!((&checkpoint.id, checkpoint.at, checkpoint.sequence), (&id, summary.at, summary.sequence));
    let header = bytes[12..16].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let blobs: usize = checkpoint.blobs.values().map(Vec::len).sum();
    assert_eq!(PREFIX_BYTES + header + blobs, bytes.len(), "every byte belongs to a blob that is given back");

    let other = Checkpoint { id: CheckpointId::new("d").expect("a file name"), ..checkpoint.clone() };
    open.save(&other).expect("what was loaded can be saved");
    assert_eq!(open.load(&other.id), Ok(other));
    Some(checkpoint)
}

/// A checkpoint that somebody changed is not loaded.
pub(crate) fn spoilt(store: &Path, choices: &mut Choices<'_>) {
    let mut checkpoint = Checkpoint {
        id: CheckpointId::new(NAME).expect("a file name"),
        at: UnixTime::from_nanos(i64::from_le_bytes(choices.number())),
        sequence: choices.sequence(),
        blobs: BTreeMap::new(),
    };
    for _ in 0..choices.below(4) {
        checkpoint.blobs.insert(choices.text(6), choices.bytes(24).to_vec());
    }
    let mut open = Store::open(store).expect("an empty directory");
    open.save(&checkpoint).expect("a new checkpoint");
    drop(open);
    let whole = read(&checkpoints(store).join(NAME).with_extension(EXTENSION));
    let mut bytes = whole.clone();
    choices.spoil(&mut bytes);
    let expected = (bytes == whole).then_some(checkpoint);
    assert_eq!(opened(store, &bytes), expected, "whole or not at all");
}
