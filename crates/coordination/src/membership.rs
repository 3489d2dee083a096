//! Who belongs to a group, and how many of them decide.

use std::fmt;

use kasmina_leyline::TrainingRunId;
use sha2::{Digest as _, Sha256};

use crate::keys::{PublicKey, Signature};

/// The most workers of a group. Our choice: a certificate of them has some 500 kB, half of what a bus carries.
pub const MAX_WORKERS: usize = 10_000;

/// A worker by its place in the [`Membership`], from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

/// The workers of one training run: their public keys, in an order that all of them know. It is fixed for the run.
///
/// Of `n` workers, `f = (n - 1) / 3` may lie. A *quorum* is `(n + f) / 2 + 1` of them: any two quorums share `f + 1`
/// workers, so at least one that is honest, and the honest ones alone are a quorum. For `n = 3f + 1` it is `2f + 1`; for
/// other sizes `2f + 1` would be too few (eight workers: two quorums of five may share two liars and nobody else).
#[derive(Clone, Debug)]
pub struct Membership {
    keys: Vec<PublicKey>,
    group: [u8; 32],
}

/// Why a membership cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Nobody, or more than [`MAX_WORKERS`].
    #[error("a group has 1 to {MAX_WORKERS} workers, not {got}")]
    Size {
        /// How many there are.
        got: usize,
    },
    /// Two workers have one key: they would have one vote twice.
    #[error("{first} and {second} have the same key")]
    SharedKey {
        /// The first of them.
        first: WorkerId,
        /// The second.
        second: WorkerId,
    },
    /// The secret key belongs to none of the members.
    #[error("the secret key belongs to none of the {workers} workers")]
    Stranger {
        /// How many workers there are.
        workers: usize,
    },
}

impl Membership {
    /// The workers of a run, by their keys.
    ///
    /// # Errors
    /// [`MembershipError::Size`], [`MembershipError::SharedKey`].
    pub fn new(run: &TrainingRunId, keys: Vec<PublicKey>) -> Result<Self, MembershipError> {
        if keys.is_empty() || keys.len() > MAX_WORKERS {
            return Err(MembershipError::Size { got: keys.len() });
        }
        let mut sorted: Vec<_> = keys.iter().zip(0..).map(|(key, index)| (key, WorkerId(index))).collect();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [(one, first), (other, second)] = pair
                && one == other
            {
                return Err(MembershipError::SharedKey { first: *first, second: *second });
            }
        }
        let mut hash = Sha256::new().chain_update(b"kasmina-coordination group 1\0");
        hash.update((run.as_str().len() as u64).to_le_bytes());
        hash.update(run.as_str());
        for key in &keys {
            hash.update(key.to_bytes());
        }
        Ok(Self { keys, group: hash.finalize().into() })
    }

    /// How many workers there are: `n`.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.keys.len()
    }

    /// How many of them may lie: `f`.
    #[must_use]
    pub const fn liars(&self) -> usize {
        (self.keys.len() - 1) / 3
    }

    /// How many have to agree.
    #[must_use]
    pub const fn quorum(&self) -> usize {
        usize::midpoint(self.keys.len(), self.liars()) + 1
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..u16::try_from(self.keys.len()).unwrap_or(u16::MAX)).map(WorkerId)
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// [`MembershipError::Stranger`].
    pub fn find(&self, key: &PublicKey) -> Result<WorkerId, MembershipError> {
        let at = self.keys.iter().position(|other| other == key);
        let id = at.and_then(|at| u16::try_from(at).ok());
        id.map(WorkerId).ok_or(MembershipError::Stranger { workers: self.keys.len() })
    }

    pub(crate) fn has(&self, worker: WorkerId) -> bool {
        usize::from(worker.0) < self.keys.len()
    }

    /// The group, in everything that is signed: a signature for one run says nothing in another.
    pub(crate) const fn group(&self) -> &[u8; 32] {
        &self.group
    }

    pub(crate) fn made(&self, worker: WorkerId, signature: &Signature, bytes: &[u8]) -> bool {
        self.keys.get(usize::from(worker.0)).is_some_and(|key| key.made(signature, bytes))
    }
}
