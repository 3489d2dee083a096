//! What must hold, whatever happens.

use std::collections::BTreeSet;

use kasmina_leyline::CommandId;

use crate::{Decided, Round, WorkerId, statement::Hash};

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, at {at_ms} ms: {what}")]
pub struct Violation {
    /// The seed with which it happens again.
    pub seed: u64,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// What a replica has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) round: Round,
    pub(super) hash: Hash,
    /// The step before which it was applied.
    pub(super) step: u64,
    pub(super) orders: Vec<CommandId>,
}

impl Applied {
    pub(super) fn new(decided: &Decided, step: u64) -> Self {
        let orders = decided.plan.orders.iter().map(|order| order.id.clone()).collect();
        Self { round: decided.round, hash: decided.hash, step, orders }
    }
}

/// What the honest replicas have applied, one decision after the other: each of them has applied a beginning of this.
#[derive(Debug, Default)]
pub(super) struct Chain {
    links: Vec<Applied>,
    orders: BTreeSet<CommandId>,
}

impl Chain {
    /// A replica, which has applied `before` decisions, applies another one.
    pub(super) fn apply(&mut self, worker: WorkerId, before: usize, applied: &Applied) -> Result<(), String> {
        if let Some(link) = self.links.get(before) {
            return if link == applied {
                Ok(())
            } else {
                Err(format!("{worker} applies {applied:?}, and others have applied {link:?} in its place"))
            };
        }
        for id in &applied.orders {
            if !self.orders.insert(id.clone()) {
                return Err(format!("{worker} applies {id} again"));
            }
        }
        self.links.push(applied.clone());
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }
}
