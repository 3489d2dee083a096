//! Who is the holder.

mod local;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "redis")]
pub use self::redis::{RedisLease, RedisLeaseSettings};
pub use local::{LocalLease, Tenancy};

use crate::WorkerId;

/// Who holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The fencing token: higher than that of every tenure before.
    pub token: u64,
    /// The worker.
    pub holder: WorkerId,
    /// Whether it is this very process: a worker that was started again does not have the lease of its former life.
    pub is_mine: bool,
}

/// Why the lease could not be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The server is away, or does not answer.
    #[error("the server of the lease is away: {detail}")]
    Away {
        /// What happened. Without the address, which may hold a password.
        detail: String,
    },
    /// The answer cannot be read.
    #[error("the lease's answer cannot be read: {detail}")]
    Unreadable {
        /// What is wrong.
        detail: String,
    },
    /// No lease is wired.
    #[error("no lease is wired")]
    NotWired,
}

/// A lease that one worker at a time holds, for a limited time.
///
/// If it gives one tenure to two workers, or a token twice, nothing is decided wrongly: no quorum votes for two plans of
/// one token. But rounds may come to no end until the next token. If it gives it to nobody, nothing is decided.
pub trait Lease: Send {
    /// Takes the lease if nobody holds it, and renews it if this process does. Gives who holds it then. A new token is
    /// higher than `above`, the highest that the worker knows: so a server that has forgotten its tokens does no harm.
    ///
    /// # Errors
    /// [`LeaseError`]. It may have been taken all the same.
    fn take(&mut self, above: u64) -> Result<Tenure, LeaseError>;

    /// Who holds it, without taking it.
    ///
    /// # Errors
    /// [`LeaseError`].
    fn look(&mut self) -> Result<Option<Tenure>, LeaseError>;

    /// Gives it back, if this process holds it.
    ///
    /// # Errors
    /// [`LeaseError`]. Then it ends by itself.
    fn release(&mut self) -> Result<(), LeaseError>;
}

impl<L: Lease + ?Sized> Lease for Box<L> {
    fn take(&mut self, above: u64) -> Result<Tenure, LeaseError> {
        (**self).take(above)
    }

    fn look(&mut self) -> Result<Option<Tenure>, LeaseError> {
        (**self).look()
    }

    fn release(&mut self) -> Result<(), LeaseError> {
        (**self).release()
    }
}

/// The null object: nobody gets it, so that nothing is decided.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLease;

impl Lease for NoLease {
    fn take(&mut self, _: u64) -> Result<Tenure, LeaseError> {
        Err(LeaseError::NotWired)
    }

    fn look(&mut self) -> Result<Option<Tenure>, LeaseError> {
        Err(LeaseError::NotWired)
    }

    fn release(&mut self) -> Result<(), LeaseError> {
        Err(LeaseError::NotWired)
    }
}
