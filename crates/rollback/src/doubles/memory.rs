use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Blobs, Digest, Entry, Journal, Record, StoreError, Visitor};

/// A journal and blobs in memory. A clone is a handle on the same store, so that a test can script and inspect what it gave
/// away, and can "open it again" after a simulated crash.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    batches: Vec<Vec<Record>>,
    /// How many records were ever appended: the last sequence number.
    last: u64,
    blobs: BTreeMap<Digest, Vec<u8>>,
    damaged: BTreeSet<Digest>,
    next_append: Option<StoreError>,
    next_put: Option<StoreError>,
    refusing: Option<StoreError>,
    appends: u64,
    puts: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next append fail as on a full disk. Nothing is kept of it. An empty append does not count as one.
    pub fn fail_next_append(&self) {
        self.state().next_append = Some(full("append"));
    }

    /// Lets the next storing of blobs fail as on a full disk.
    pub fn fail_next_put(&self) {
        self.state().next_put = Some(full("write"));
    }

    /// Lets the journal refuse everything with `error`, as after a failed sync, until this is called with `None`.
    pub fn refuse_with(&self, error: Option<StoreError>) {
        self.state().refusing = error;
    }

    /// Tears the last batch off, as if power had failed before it was durable. Gives how many records went.
    pub fn tear_tail(&self) -> usize {
        let mut state = self.state();
        let torn = state.batches.pop().map_or(0, |batch| batch.len());
        state.last -= torn as u64;
        torn
    }

    /// Damages a blob: it cannot be read any more.
    pub fn damage(&self, digest: &Digest) {
        self.state().damaged.insert(*digest);
    }

    /// How often [`append`](Journal::append) was called with something to append, failures included.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.state().appends
    }

    /// How many blobs were written, not counting those that were there already.
    #[must_use]
    pub fn puts(&self) -> u64 {
        self.state().puts
    }

    /// The blobs that are stored.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest> {
        self.state().blobs.keys().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryStore {
    fn status(&self) -> Result<Range<u64>, StoreError> {
        let state = self.state();
        state.refusing.clone().map_or(Ok(()), Err)?;
        let first = state.batches.iter().flatten().next().map_or(state.last + 1, |record| record.sequence);
        Ok(first..state.last + 1)
    }

    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        let mut state = self.state();
        state.refusing.clone().map_or(Ok(()), Err)?;
        let first = state.last + 1;
        if entries.is_empty() {
            return Ok(first..first);
        }
        state.appends += 1;
        state.next_append.take().map_or(Ok(()), Err)?;
        let batch: Vec<_> =
            (first..).zip(entries).map(|(sequence, entry)| Record { sequence, entry: entry.clone() }).collect();
        state.last += batch.len() as u64;
        state.batches.push(batch);
        Ok(first..state.last + 1)
    }

    fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let held: Vec<_> = self.state().batches.iter().flatten().cloned().collect();
        for record in held.into_iter().filter(|record| range.contains(&record.sequence)) {
            if visit(record) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn compact(&mut self, from: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        state.refusing.clone().map_or(Ok(()), Err)?;
        for batch in &mut state.batches {
            batch.retain(|record| record.sequence >= from);
        }
        state.batches.retain(|batch| !batch.is_empty());
        Ok(())
    }
}

impl Blobs for MemoryStore {
    fn put_all(&mut self, blobs: &[&[u8]]) -> Result<Vec<Digest>, StoreError> {
        let mut state = self.state();
        state.next_put.take().map_or(Ok(()), Err)?;
        let digests = blobs.iter().map(|bytes| {
            let digest = Digest::of(bytes);
            if state.damaged.remove(&digest) || !state.blobs.contains_key(&digest) {
                state.puts += 1;
                state.blobs.insert(digest, bytes.to_vec());
            }
            digest
        });
        Ok(digests.collect())
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let state = self.state();
        if state.damaged.contains(digest) {
            let (path, expected, got) = (PathBuf::from(digest.to_string()), *digest, Digest::of(b"damaged"));
            return Err(StoreError::CorruptBlob { path, expected, got });
        }
        state.blobs.get(digest).cloned().ok_or(StoreError::UnknownBlob { digest: *digest })
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.state().blobs.contains_key(digest)
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Digest) -> bool) -> Result<(), StoreError> {
        let mut state = self.state();
        state.blobs.retain(|digest, _| keep(digest));
        Ok(())
    }
}

fn full(action: &'static str) -> StoreError {
    StoreError::Full { path: PathBuf::from("memory"), action, detail: "as scripted".to_owned() }
}
