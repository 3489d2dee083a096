//! The seam between the manager and what it must not forget.

use std::ops::{ControlFlow, Range};

use crate::{Entry, Record, StoreError};

/// What a visitor does with each record; `Break` ends the visit.
pub type Visitor<'a> = dyn FnMut(Record) -> ControlFlow<()> + 'a;

/// An ordered record of what was acknowledged.
///
/// What a mistake costs: an implementation that returns from [`append`](Self::append) too early lets a killed process forget a
/// command that it has answered, and a seed comes back in another stage. One that refuses needlessly costs a refused command,
/// which its sender repeats. If in doubt, refuse.
///
/// One owner at a time writes. Entries that belong together go into one batch: a batch costs one sync, however long it is.
pub trait Journal: Send {
    /// The sequence numbers that are held, empty if there are none; `end` is the next one. Costs no access to the disk, so
    /// that a caller can ask before it encodes anything.
    ///
    /// # Errors
    /// [`StoreError`]: [`append`](Self::append) would be refused for this reason.
    fn status(&self) -> Result<Range<u64>, StoreError>;

    /// Appends `entries`, all or none, and makes them durable before it returns. Gives the sequence numbers that they got.
    /// An empty batch writes nothing and gives an empty range.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may be acknowledged. If [`status`](Self::status) is an error afterwards, the batch may
    /// nevertheless be found when the journal is opened again.
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError>;

    /// Calls `visit` for the records of `range` that are held, in order and without gaps.
    ///
    /// # Errors
    /// [`StoreError`] names the first place that cannot be read; records before it were visited.
    fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// Forgets every record below `from`, for example those that a snapshot covers. Sequence numbers go on.
    ///
    /// # Errors
    /// [`StoreError`]: the journal holds either what it held or what it should hold, nothing in between.
    fn compact(&mut self, from: u64) -> Result<(), StoreError>;
}

/// Stands where no journal was wired: refuses to append, so that nothing can be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoJournal;

const NOT_WIRED: StoreError = StoreError::NotWired { what: "journal" };

impl Journal for NoJournal {
    fn status(&self) -> Result<Range<u64>, StoreError> {
        Err(NOT_WIRED)
    }

    /// # Errors
    /// Always [`StoreError::NotWired`], for an empty batch too.
    fn append(&mut self, _: &[Entry]) -> Result<Range<u64>, StoreError> {
        Err(NOT_WIRED)
    }

    /// # Errors
    /// Always [`StoreError::NotWired`]: an empty journal would be a claim.
    fn visit(&mut self, _: Range<u64>, _: &mut Visitor<'_>) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }

    fn compact(&mut self, _: u64) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }
}

macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<J: Journal + ?Sized> Journal for $holder {
            fn status(&self) -> Result<Range<u64>, StoreError> {
                (**self).status()
            }

            fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
                (**self).append(entries)
            }

            fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
                (**self).visit(range, visit)
            }

            fn compact(&mut self, from: u64) -> Result<(), StoreError> {
                (**self).compact(from)
            }
        }
    )*};
}

forward!(&mut J, Box<J>);
