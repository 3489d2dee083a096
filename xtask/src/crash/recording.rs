//! A journal and checkpoints that remember what went through them.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kasmina::rollback::{
    Checkpoint, CheckpointId, CheckpointStore, CheckpointSummary, Entry, Journal, Record, StoreError,
};

use super::protocol::Saved;

/// What went through.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Last>>);

#[derive(Default)]
struct Last {
    sequence: u64,
    /// The last record that there was before this process.
    found: u64,
    saved: Option<Saved>,
}

impl Seen {
    /// The last record.
    pub(super) fn sequence(&self) -> u64 {
        self.last().sequence
    }

    /// The checkpoint that was saved last.
    pub(super) fn saved(&self) -> Option<Saved> {
        self.last().saved.clone()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes everything on, and notes it when it has succeeded. `read` must come first.
pub(super) struct Recording<T> {
    inner: T,
    seen: Seen,
}

impl<T> Recording<T> {
    pub(super) const fn new(inner: T, seen: Seen) -> Self {
        Self { inner, seen }
    }
}

impl<J: Journal> Journal for Recording<J> {
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        let places = self.inner.append(entries)?;
        if !places.is_empty() {
            self.seen.last().sequence = places.end - 1;
        }
        Ok(places)
    }

    fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError> {
        let records = self.inner.read(from)?;
        if let Some(record) = records.last() {
            let mut last = self.seen.last();
            last.sequence = record.sequence;
            if last.found == 0 {
                last.found = record.sequence;
            }
        }
        Ok(records)
    }

    fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        // What this process wrote is kept until it has been compared with what it said.
        let found = self.seen.last().found;
        self.inner.compact(before.min(found + 1))
    }
}

impl<C: CheckpointStore> CheckpointStore for Recording<C> {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.inner.save(checkpoint)?;
        self.seen.last().saved = Some(Saved::of(checkpoint));
        Ok(())
    }

    fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        self.inner.load(id)
    }

    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError> {
        self.inner.retain(keep)
    }
}
