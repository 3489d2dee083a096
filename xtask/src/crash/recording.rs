//! A journal that remembers what went through it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use kasmina::rollback::{Entry, Journal, StoreError, Visitor};

/// The last record that went through.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<AtomicU64>);

impl Seen {
    pub(super) fn sequence(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Passes everything on, and notes it when it has succeeded.
pub(super) struct Recording<J> {
    inner: J,
    seen: Seen,
    /// The first record of this process.
    first: u64,
}

impl<J: Journal> Recording<J> {
    pub(super) fn new(inner: J, seen: Seen) -> Result<Self, StoreError> {
        let first = inner.status()?.end;
        seen.0.store(first - 1, Relaxed);
        Ok(Self { inner, seen, first })
    }
}

impl<J: Journal> Journal for Recording<J> {
    fn status(&self) -> Result<Range<u64>, StoreError> {
        self.inner.status()
    }

    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        let places = self.inner.append(entries)?;
        if !places.is_empty() {
            self.seen.0.store(places.end - 1, Relaxed);
        }
        Ok(places)
    }

    fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.inner.visit(range, visit)
    }

    fn compact(&mut self, from: u64) -> Result<(), StoreError> {
        // What this process wrote is kept until it has been compared with what it said.
        self.inner.compact(from.min(self.first))
    }
}
