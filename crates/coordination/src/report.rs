//! What a worker tells a round about itself.

use kasmina_leyline::UnixTime;
use sha2::{Digest as _, Sha256};

use crate::{
    Order, WorkerId,
    plan::orders_hash,
    statement::{Hash, Signed},
};

/// What must be the same on all replicas, in a form that is short enough to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    /// Of the engine's state: [`hash`](fn@crate::hash) of its bytes.
    pub state: Hash,
    /// Of the set of parameters.
    pub parameters: Hash,
    /// Of the reduced gradients; see [`Sketch`](crate::Sketch). Empty if there is none.
    pub sketch: Vec<f32>,
}

/// What a worker brings to a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The replica.
    pub digest: Digest,
    /// Orders that it has received and that no round has decided yet, in any order.
    pub pending: Vec<Order>,
    /// The epochs of the checkpoints that it could go back to, newest first. It keeps them until the round has ended.
    pub checkpoints: Vec<u64>,
    /// Its wall clock.
    pub at: UnixTime,
}

impl Report {
    /// That of a replica that is not at the round any more.
    pub(crate) fn absent() -> Self {
        let digest = Digest { state: [0; 32], parameters: [0; 32], sketch: Vec::new() };
        Self { digest, pending: Vec::new(), checkpoints: Vec::new(), at: UnixTime::default() }
    }

    /// The hash that its worker signs.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hash = Sha256::new().chain_update(b"report\0");
        hash.update(self.digest.state);
        hash.update(self.digest.parameters);
        hash.update(orders_hash(&self.pending));
        hash.update((self.digest.sketch.len() as u64).to_le_bytes());
        for value in &self.digest.sketch {
            hash.update(value.to_bits().to_le_bytes());
        }
        hash.finalize().into()
    }
}

/// What a worker signs when it comes to a round: enough for others to check what a holder makes of it, without the
/// orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Whom it obeys: the holder of the token.
    pub holder: WorkerId,
    /// The hash of its [`Report`].
    pub report: Hash,
    /// The report's clock.
    pub at: UnixTime,
    /// The report's checkpoints.
    pub checkpoints: Vec<u64>,
    /// Whether it could still apply a new plan. One that has gone past the round says what it has accepted, so that this can
    /// be brought to an end.
    pub present: bool,
    /// The plan that it has accepted in this round under a lower token, and which may have been decided.
    pub locked: Option<(u64, Hash)>,
}

impl Promise {
    /// The hash of [`Phase::Propose`](crate::Phase::Propose).
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hash = Sha256::new().chain_update(b"promise\0");
        hash.update(self.holder.0.to_le_bytes());
        hash.update(self.report);
        hash.update(self.at.as_nanos().to_le_bytes());
        hash.update((self.checkpoints.len() as u64).to_le_bytes());
        for epoch in &self.checkpoints {
            hash.update(epoch.to_le_bytes());
        }
        hash.update([u8::from(self.present)]);
        let (token, locked) = self.locked.unwrap_or((0, [0; 32]));
        hash.update([u8::from(self.locked.is_some())]);
        hash.update(token.to_le_bytes());
        hash.update(locked);
        hash.finalize().into()
    }
}

/// A promise with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPromise {
    /// The promise.
    pub promise: Promise,
    /// A statement of [`Phase::Propose`](crate::Phase::Propose) with the promise's hash.
    pub signed: Signed,
}

impl SignedPromise {
    pub(crate) fn worker(&self) -> WorkerId {
        self.signed.statement.worker
    }
}

/// The SHA-256 of some bytes, for a [`Digest`].
#[must_use]
pub fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}
