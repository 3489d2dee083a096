//! The suite, run by every store of this crate.

use std::ops::Range;

use kasmina_rollback::{
    Checkpoint, CheckpointId, CheckpointStore, CheckpointSummary, Entry, Journal, Record, Store, StoreError, doubles,
};

#[test]
fn the_store_conforms() {
    doubles::conformance(|| {
        let directory = tempfile::tempdir().unwrap();
        move || Store::open(directory.path()).unwrap()
    });
}

#[test]
fn the_boxed_and_borrowed_store_conforms() {
    doubles::conformance(|| {
        let directory = tempfile::tempdir().unwrap();
        move || {
            let (journal, checkpoints) = Store::open(directory.path()).unwrap().split();
            Boxed(Box::new(journal), Box::new(checkpoints))
        }
    });
}

#[test]
fn the_double_conforms() {
    doubles::conformance(|| {
        let store = doubles::MemoryStore::new();
        move || store.clone()
    });
}

#[test]
fn the_double_does_as_it_is_told() {
    let handle = doubles::MemoryStore::new();
    let mut store = handle.clone();
    let entry = Entry::Telemetry { packet: vec![1] };
    store.append(std::slice::from_ref(&entry)).unwrap();
    handle.fail_next();
    assert_eq!(store.append(std::slice::from_ref(&entry)).map_err(|error| error.reason()), Err("disk_full"));
    assert_eq!(store.append(&[entry.clone(), entry.clone()]).unwrap(), 2..4);
    assert_eq!(handle.tear_tail(), 2);
    assert_eq!(store.read(0).unwrap().len(), 1);
    assert_eq!(store.append(&[entry]).unwrap(), 2..3);
    assert_eq!(handle.appends(), 4);

    let id = CheckpointId::new("a").unwrap();
    handle.damage(&id, "weights");
    assert_eq!(store.load(&id).map_err(|error| error.reason()), Err("corrupt_blob"));
}

/// The halves of a store as a manager would hold them.
struct Boxed(Box<dyn Journal>, Box<dyn CheckpointStore>);

impl Journal for Boxed {
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        Journal::append(&mut &mut self.0, entries)
    }

    fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError> {
        Journal::read(&mut &mut self.0, from)
    }

    fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        Journal::compact(&mut &mut self.0, before)
    }
}

impl CheckpointStore for Boxed {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        CheckpointStore::save(&mut &mut self.1, checkpoint)
    }

    fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        CheckpointStore::load(&mut &mut self.1, id)
    }

    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError> {
        CheckpointStore::retain(&mut &mut self.1, keep)
    }
}
