//! Test doubles: a store in memory, and what every journal and every checkpoint store has to do.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Checkpoint, CheckpointId, CheckpointStore, CheckpointSummary, Entry, Journal, Record, StoreError};

mod conformance;

pub use conformance::conformance;

/// A store in memory. A clone is a handle on the same store, so that a test can script and inspect what it gave away, and
/// can "open it again" after a simulated crash.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    batches: Vec<Vec<Record>>,
    /// How many records were ever appended: the last sequence number.
    last: u64,
    checkpoints: BTreeMap<CheckpointId, Checkpoint>,
    damaged: BTreeMap<CheckpointId, String>,
    failure: Option<StoreError>,
    append_failure: Option<StoreError>,
    appends: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next append or save fail as on a full disk.
    pub fn fail_next(&self) {
        let (path, detail) = (PathBuf::from("memory"), "as the test wanted".to_owned());
        self.fail_next_with(StoreError::Full { path, action: "append", detail });
    }

    /// Lets the next append fail as on a full disk, whatever is saved before it.
    pub fn fail_next_append(&self) {
        let (path, detail) = (PathBuf::from("memory"), "as the test wanted".to_owned());
        self.state().append_failure = Some(StoreError::Full { path, action: "append", detail });
    }

    /// Lets the next append or save fail with `error`. Nothing is kept of it. An empty append does not count as one.
    pub fn fail_next_with(&self, error: StoreError) {
        self.state().failure = Some(error);
    }

    /// Tears the last batch off, as if power had failed before it was durable. Gives how many records went.
    pub fn tear_tail(&self) -> usize {
        let mut state = self.state();
        let torn = state.batches.pop().map_or(0, |batch| batch.len());
        state.last -= torn as u64;
        torn
    }

    /// Damages a blob of a checkpoint: it cannot be loaded any more.
    pub fn damage(&self, id: &CheckpointId, blob: impl Into<String>) {
        self.state().damaged.insert(id.clone(), blob.into());
    }

    /// How often [`append`](Journal::append) was called with something to append, failures included.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.state().appends
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryStore {
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        let mut state = self.state();
        let first = state.last + 1;
        if entries.is_empty() {
            return Ok(first..first);
        }
        state.appends += 1;
        state.failure.take().map_or(Ok(()), Err)?;
        state.append_failure.take().map_or(Ok(()), Err)?;
        let batch: Vec<_> =
            (first..).zip(entries).map(|(sequence, entry)| Record { sequence, entry: entry.clone() }).collect();
        state.last += batch.len() as u64;
        state.batches.push(batch);
        Ok(first..state.last + 1)
    }

    fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError> {
        Ok(self.state().batches.iter().flatten().filter(|record| record.sequence >= from).cloned().collect())
    }

    fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        for batch in &mut state.batches {
            batch.retain(|record| record.sequence >= before);
        }
        state.batches.retain(|batch| !batch.is_empty());
        Ok(())
    }
}

impl CheckpointStore for MemoryStore {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut state = self.state();
        state.failure.take().map_or(Ok(()), Err)?;
        let id = checkpoint.id.clone();
        if state.checkpoints.contains_key(&id) {
            return Err(StoreError::CheckpointExists { id });
        }
        state.checkpoints.insert(id, checkpoint.clone());
        Ok(())
    }

    fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        let state = self.state();
        if let Some(blob) = state.damaged.get(id) {
            let (path, expected, got) = (PathBuf::from("memory"), "00".repeat(32), "ff".repeat(32));
            return Err(StoreError::CorruptBlob { path, blob: blob.clone(), offset: 0, expected, got });
        }
        state.checkpoints.get(id).cloned().ok_or_else(|| StoreError::UnknownCheckpoint { id: id.clone() })
    }

    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError> {
        let mut state = self.state();
        let mut found: Vec<_> = state.checkpoints.values().map(summary).collect();
        found.sort_by(|a, b| (a.sequence, a.at, &a.id).cmp(&(b.sequence, b.at, &b.id)));
        let (kept, dropped): (Vec<_>, Vec<_>) = found.into_iter().partition(keep);
        for summary in dropped {
            state.checkpoints.remove(&summary.id);
            state.damaged.remove(&summary.id);
        }
        Ok(kept)
    }
}

fn summary(checkpoint: &Checkpoint) -> CheckpointSummary {
    CheckpointSummary {
        id: checkpoint.id.clone(),
        at: checkpoint.at,
        sequence: checkpoint.sequence,
        bytes: checkpoint.blobs.values().map(|blob| blob.len() as u64).sum(),
        damage: None,
    }
}
