//! The suites, run by every implementation of this crate.

use std::{ops::Range, sync::Arc};

use kasmina_rollback::{
    BlobDirectory, Blobs, Digest, Entry, FileStorage, Journal, JournalFile, NoBlobs, NoJournal, NoStorage, Storage,
    Store, StoreError, Visitor,
    doubles::{MemoryStore, SimulatedDisk, conformance},
};

#[test]
fn storages_conform() {
    conformance::storage(|| {
        let directory = tempfile::tempdir().unwrap();
        move || FileStorage::open(directory.path()).unwrap()
    });
    conformance::storage(|| {
        let disk = SimulatedDisk::new();
        move || disk.clone()
    });
    conformance::storage(|| {
        let disk = SimulatedDisk::new();
        move || -> Arc<Box<dyn Storage>> { Arc::new(Box::new(disk.clone())) }
    });
}

#[test]
fn journals_conform() {
    conformance::journal(|| {
        let directory = tempfile::tempdir().unwrap();
        move || Store::open(directory.path()).unwrap().journal
    });
    conformance::journal(|| {
        let disk = Arc::new(SimulatedDisk::new());
        move || JournalFile::open(Arc::clone(&disk) as Arc<dyn Storage>).unwrap().0
    });
    conformance::journal(|| {
        let store = MemoryStore::new();
        move || store.clone()
    });
    conformance::journal(|| {
        let store = MemoryStore::new();
        move || Forwarded(Box::new(store.clone()))
    });
}

#[test]
fn blob_stores_conform() {
    conformance::blobs(|| {
        let directory = tempfile::tempdir().unwrap();
        move || Store::open(directory.path()).unwrap().blobs
    });
    conformance::blobs(|| {
        let disk = Arc::new(SimulatedDisk::new());
        move || BlobDirectory::open(Arc::clone(&disk) as Arc<dyn Storage>).unwrap()
    });
    conformance::blobs(|| {
        let store = MemoryStore::new();
        move || store.clone()
    });
    conformance::blobs(|| {
        let store = MemoryStore::new();
        move || -> Box<dyn Blobs> { Box::new(store.clone()) }
    });
}

#[test]
fn null_objects_refuse_everything() {
    assert_eq!(NoJournal.status().map_err(|error| error.reason()), Err("not_wired"));
    assert!(NoJournal.append(&[]).is_err());
    assert!(NoJournal.visit(0..1, &mut |_| std::ops::ControlFlow::Continue(())).is_err());
    assert!(NoJournal.compact(0).is_err());
    assert_eq!(NoBlobs.put_all(&[]).map_err(|error| error.reason()), Err("not_wired"));
    assert!(!NoBlobs.contains(&Digest::of(b"")));
    assert!(NoBlobs.get(&Digest::of(b"")).is_err());
    assert!(NoBlobs.retain(&mut |_| true).is_err());
    assert!(Store::open_on(Arc::new(NoStorage)).is_err());
}

#[test]
fn memory_store_follows_its_script() {
    let handle = MemoryStore::new();
    let mut store = handle.clone();
    let entry = Entry::Telemetry { packet: vec![1] };
    store.append(std::slice::from_ref(&entry)).unwrap();
    handle.fail_next_append();
    assert_eq!(store.append(std::slice::from_ref(&entry)).map_err(|error| error.reason()), Err("disk_full"));
    assert_eq!(store.append(&[entry.clone(), entry.clone()]).unwrap(), 2..4);
    assert_eq!(handle.tear_tail(), 2);
    assert_eq!(conformance::records(&mut store, 0).len(), 1);
    assert_eq!((store.append(&[entry]).unwrap(), handle.appends()), (2..3, 4));
    handle.refuse_with(Some(StoreError::Unusable { path: "memory".into() }));
    assert_eq!(store.status().map_err(|error| error.reason()), Err("unusable"));

    let digest = store.put_all(&[b"weights"]).unwrap()[0];
    handle.damage(&digest);
    assert_eq!(store.get(&digest).map_err(|error| error.reason()), Err("corrupt_blob"));
    store.put_all(&[b"weights"]).unwrap();
    assert_eq!((store.get(&digest).unwrap(), handle.puts()), (b"weights".to_vec(), 2));
}

/// A journal behind `&mut` and `Box`.
struct Forwarded(Box<dyn Journal>);

impl Journal for Forwarded {
    fn status(&self) -> Result<Range<u64>, StoreError> {
        self.0.status()
    }

    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        Journal::append(&mut &mut self.0, entries)
    }

    fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        Journal::visit(&mut &mut self.0, range, visit)
    }

    fn compact(&mut self, from: u64) -> Result<(), StoreError> {
        Journal::compact(&mut &mut self.0, from)
    }
}
