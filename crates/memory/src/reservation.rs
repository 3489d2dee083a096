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
    ledger: Arc<Ledger>,
    /// How often the pool's reservations had been withdrawn when this one was made.
    withdrawals: u64,
}

/// What is reserved in a pool.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    bytes: AtomicU64,
    withdrawals: AtomicU64,
}

impl Ledger {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Asks for everything back that is reserved now.
    pub(crate) fn withdraw(&self) {
        self.withdrawals.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reservation {
    /// Takes `bytes` out of the pool of this ledger. The caller has checked the budget.
    pub(crate) fn take(pool: Pool, bytes: u64, ledger: &Arc<Ledger>) -> Self {
        ledger.bytes.fetch_add(bytes, Ordering::Relaxed);
        let withdrawals = ledger.withdrawals.load(Ordering::Relaxed);
        Self { pool, bytes, ledger: Arc::clone(ledger), withdrawals }
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

    /// Whether the bytes are asked back ([`Governor::withdraw`](crate::Governor::withdraw)): drop what takes them, and then this. Until
    /// then they count as held.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.ledger.withdrawals.load(Ordering::Relaxed) != self.withdrawals
    }

    /// Keeps at most so many bytes, and gives the rest back.
    pub fn shrink_to(&mut self, bytes: u64) {
        let given = self.bytes.saturating_sub(bytes);
        self.bytes -= given;
        self.ledger.bytes.fetch_sub(given, Ordering::Relaxed);
    }

    /// Gives the bytes back. Dropping does the same.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ledger.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
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
