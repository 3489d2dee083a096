//! A blob's file in a store.

use std::path::Path;

use kasmina_rollback::{Blobs, Digest, Entry, Journal, Store, StoreError};

use crate::{
    choices::Choices,
    directory::{read, write},
};

/// A blob whose file somebody changed is not read, and can be stored again.
pub(crate) fn spoilt(store: &Path, choices: &mut Choices<'_>) {
    let whole = choices.bytes(200).to_vec();
    let mut open = Store::open(store).expect("an empty directory");
    let stored = open.blobs.put_all(&[&whole]).expect("a new blob");
    let digest = *stored.first().expect("one digest for one blob");
    assert_eq!(digest, Digest::of(&whole));
    open.journal.append(&[Entry::Snapshot { bytes: Vec::new(), blobs: stored }]).expect("an append");
    drop(open);
    let path = store.join(format!("{digest}.blob"));
    assert_eq!(read(&path), whole, "the file is the blob");
    let mut bytes = whole.clone();
    choices.spoil(&mut bytes);
    write(&path, &bytes);

    let audit = Store::audit(store);
    let mut open = Store::open(store).expect("blobs are not read when a store opens");
    let got = open.blobs.get(&digest);
    if bytes == whole {
        assert_eq!((got, audit.map(|audit| audit.blobs)), (Ok(whole), Ok(1)));
        return;
    }
    let error = StoreError::CorruptBlob { path: path.clone(), expected: digest, got: Digest::of(&bytes) };
    assert_eq!((got, audit), (Err(error.clone()), Err(error)), "whole or not at all");
    assert_eq!(read(&path), bytes, "left as it was");
    open.blobs.put_all(&[&whole]).expect("stored again");
    assert_eq!(open.blobs.get(&digest), Ok(whole));
}
