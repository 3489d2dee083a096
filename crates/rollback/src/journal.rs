//! The seam between the manager and what it must not forget.

use std::ops::Range;

use crate::{Entry, Record, StoreError};

/// An ordered record of what was acknowledged.
///
/// What mistakes cost: an implementation that returns from [`append`](Self::append) too early lets a killed process
/// forget a command that it has answered, and a seed comes back in another stage. One that refuses needlessly costs a
/// refused command, which its sender repeats. In doubt, refuse.
///
/// One owner at a time writes; entries that belong together, and those of callers who wait at the same time, go into one
/// batch: a batch costs one sync, however long it is.
pub trait Journal: Send {
    /// Appends `entries`, all or none, and makes them durable before it returns. Gives the sequence numbers that they got.
    /// An empty batch writes nothing and gives an empty range.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may be acknowledged. After a failed sync the batch may nevertheless be found when the
    /// journal is opened again; until then every append is refused.
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError>;

    /// All records that are held, in order and without gaps, beginning with the sequence number `from` or with the oldest
    /// that is held.
    ///
    /// # Errors
    /// [`StoreError`] names the first place that cannot be read.
    fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError>;

    /// Forgets every record below `before`, for example those that a checkpoint covers. Sequence numbers go on.
    ///
    /// # Errors
    /// [`StoreError`]: the journal holds either what it held or what it should hold, nothing in between.
    fn compact(&mut self, before: u64) -> Result<(), StoreError>;
}

/// Stands where no journal was wired: refuses to append, so that nothing can be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoJournal;

impl Journal for NoJournal {
    /// # Errors
    /// Always [`StoreError::NotWired`], for an empty batch too.
    fn append(&mut self, _: &[Entry]) -> Result<Range<u64>, StoreError> {
        Err(StoreError::NotWired { what: "journal" })
    }

    /// # Errors
    /// Always [`StoreError::NotWired`]: an empty journal would be a claim.
    fn read(&mut self, _: u64) -> Result<Vec<Record>, StoreError> {
        Err(StoreError::NotWired { what: "journal" })
    }

    /// # Errors
    /// Always [`StoreError::NotWired`].
    fn compact(&mut self, _: u64) -> Result<(), StoreError> {
        Err(StoreError::NotWired { what: "journal" })
    }
}

macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<J: Journal + ?Sized> Journal for $holder {
            fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
                (**self).append(entries)
            }

            fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError> {
                (**self).read(from)
            }

            fn compact(&mut self, before: u64) -> Result<(), StoreError> {
                (**self).compact(before)
            }
        }
    )*};
}

forward!(&mut J, Box<J>);
