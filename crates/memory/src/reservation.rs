//! Memory that was promised before it is taken.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::Pool;

/// Bytes of a pool that belong to the owner of this value, who may take them now or later. Dropping it gives them back.
#[must_use = "a reservation that is dropped is given back"]
#[derive(Debug)]
pub struct Reservation {
    pool: Pool,
    bytes: u64,
    reserved: Arc<AtomicU64>,
}

impl Reservation {
    /// Takes `bytes` out of the pool whose reservations are counted in `reserved`. The caller has checked the budget.
    pub(crate) fn take(pool: Pool, bytes: u64, reserved: &Arc<AtomicU64>) -> Self {
        reserved.fetch_add(bytes, Ordering::Relaxed);
        Self { pool, bytes, reserved: Arc::clone(reserved) }
    }

    /// The pool.
    #[must_use]
    pub const fn pool(&self) -> Pool {
        self.pool
    }

    /// How many bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the bytes back. Dropping does the same.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A reservation that a budget does not allow. Nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes for {}: {held} of {limit} bytes of the {} are held", .pool.as_str(), .budget.as_str())]
#[allow(missing_docs, reason = "the names and the message say it")]
pub struct OverBudget {
    pub pool: Pool,
    /// Which budget does not allow it.
    pub budget: Budget,
    pub asked: u64,
    pub held: u64,
    pub limit: u64,
}

/// A limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// The pool's own budget.
    Pool,
    /// The budget of all pools together.
    Total,
    /// The limit on the resident memory of the process.
    Resident,
}

impl Budget {
    /// Its name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "pool's budget",
            Self::Total => "total budget",
            Self::Resident => "resident limit",
        }
    }
}

impl OverBudget {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.budget {
            Budget::Pool => "over_pool_budget",
            Budget::Total => "over_total_budget",
            Budget::Resident => "over_resident_limit",
        }
    }
}
