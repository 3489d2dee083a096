//! What a round agrees on: orders, and the step at which they are applied.

use std::collections::BTreeSet;

use kasmina_leyline::{CommandId, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::{Round, WorkerId, limits::Limits, statement::Hash};

/// An order of the policy as it arrived. Coordination does not read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The command's id. Orders with one id are one order: the first that is decided counts.
    pub id: CommandId,
    /// When it was issued. Orders are applied in this order, then in that of their ids.
    pub issued_at: UnixTime,
    /// The signed bytes. Every replica verifies the signature, with [`Plan::at`] as the time.
    pub bytes: Vec<u8>,
    /// If it is a COMMAND_ROLLBACK: the epoch of the checkpoint to go back to.
    pub rollback_to: Option<u64>,
}

impl Order {
    /// An order that is not a rollback.
    #[must_use]
    pub const fn new(id: CommandId, issued_at: UnixTime, bytes: Vec<u8>) -> Self {
        Self { id, issued_at, bytes, rollback_to: None }
    }

    fn place(&self) -> (UnixTime, &CommandId) {
        (self.issued_at, &self.id)
    }

    fn hash_into(&self, hash: &mut Sha256) {
        hash.update((self.id.as_str().len() as u64).to_le_bytes());
        hash.update(self.id.as_str());
        hash.update(self.issued_at.as_nanos().to_le_bytes());
        hash.update([u8::from(self.rollback_to.is_some())]);
        hash.update(self.rollback_to.unwrap_or(0).to_le_bytes());
        hash.update((self.bytes.len() as u64).to_le_bytes());
        hash.update(&self.bytes);
    }
}

/// What a round says about an order to go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// All go back to the checkpoint of this epoch, at [`Plan::apply_at`]. The plan holds no other order.
    Go {
        /// The order.
        id: CommandId,
        /// The epoch.
        epoch: u64,
    },
    /// Nobody goes back.
    Refused {
        /// The order.
        id: CommandId,
        /// The epoch.
        epoch: u64,
        /// Workers that did not come to the round in time.
        missing: Vec<WorkerId>,
        /// Workers that do not hold that checkpoint.
        without: Vec<WorkerId>,
    },
}

impl Rollback {
    /// The order.
    #[must_use]
    pub const fn id(&self) -> &CommandId {
        match self {
            Self::Go { id, .. } | Self::Refused { id, .. } => id,
        }
    }

    /// Why nobody goes back, if so.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Go { .. } => None,
            Self::Refused { missing, .. } if missing.is_empty() => Some(Obstacle::CheckpointMissing.reason()),
            Self::Refused { .. } => Some(Obstacle::MemberMissing.reason()),
        }
    }
}

/// Why nobody goes back.
#[derive(Clone, Copy)]
enum Obstacle {
    MemberMissing,
    CheckpointMissing,
}

impl Obstacle {
    const fn reason(self) -> &'static str {
        match self {
            Self::MemberMissing => "rollback_member_missing",
            Self::CheckpointMissing => "rollback_checkpoint_missing",
        }
    }
}

/// What a round agrees on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Sorted by their time of issue, then by their id; each id once.
    pub orders: Vec<Order>,
    /// What becomes of an order to go back. It is among `orders`.
    pub rollback: Option<Rollback>,
    /// The decision before this one. So a worker that has missed one sees it, and neither votes nor applies any more.
    pub previous: Option<(Round, Hash)>,
    /// Every replica applies them before it runs this step.
    pub apply_at: u64,
    /// The time at which they count as received: the median of the clocks of a quorum, so that every replica judges
    /// freshness and embargoes by the same time.
    pub at: UnixTime,
}

impl Plan {
    /// The hash by which it is voted for.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hash = Sha256::new().chain_update(b"plan\0");
        let (round, previous) = self.previous.unwrap_or_default();
        hash.update([u8::from(self.previous.is_some())]);
        hash.update(round.era.to_le_bytes());
        hash.update(round.step.to_le_bytes());
        hash.update(previous);
        hash.update(self.apply_at.to_le_bytes());
        hash.update(self.at.as_nanos().to_le_bytes());
        hash.update((self.orders.len() as u64).to_le_bytes());
        for order in &self.orders {
            order.hash_into(&mut hash);
        }
        match &self.rollback {
            None => hash.update([0]),
            Some(Rollback::Go { id, epoch }) => {
                hash.update([1]);
                hash.update((id.as_str().len() as u64).to_le_bytes());
                hash.update(id.as_str());
                hash.update(epoch.to_le_bytes());
            }
            Some(Rollback::Refused { id, epoch, missing, without }) => {
                hash.update([2]);
                hash.update((id.as_str().len() as u64).to_le_bytes());
                hash.update(id.as_str());
                hash.update(epoch.to_le_bytes());
                for workers in [missing, without] {
                    hash.update((workers.len() as u64).to_le_bytes());
                    for worker in workers {
                        hash.update(worker.0.to_le_bytes());
                    }
                }
            }
        }
        hash.finalize().into()
    }

    /// Whether the orders are sorted, each once and within the limits.
    pub(crate) fn is_in_order(&self, limits: &Limits) -> bool {
        let mut ids = BTreeSet::new();
        self.orders.windows(2).all(|pair| pair[0].place() < pair[1].place())
            && self.orders.iter().all(|order| ids.insert(&order.id))
            && limits.fit(&self.orders) == self.orders.len()
    }
}

/// Sorts orders; of those with one id the first stays.
pub(crate) fn sorted(mut orders: Vec<Order>) -> Vec<Order> {
    // The bytes too, so that the result does not depend on the order in which they came.
    orders.sort_by(|one, other| one.place().cmp(&other.place()).then_with(|| one.bytes.cmp(&other.bytes)));
    let mut ids = BTreeSet::new();
    orders.retain(|order| ids.insert(order.id.clone()));
    orders
}

/// The hash of sorted orders.
pub(crate) fn orders_hash(orders: &[Order]) -> Hash {
    let mut hash = Sha256::new().chain_update(b"orders\0");
    for order in orders {
        order.hash_into(&mut hash);
    }
    hash.finalize().into()
}
