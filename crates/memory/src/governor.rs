//! Watches what all pools hold together, and says when to save and when to purge.

use std::sync::Arc;

use kasmina_leyline::Monotonic;

use crate::{Budget, Evict, Freed, Holding, OverBudget, PerPool, Pool, Reservation, reservation::Ledger};

/// What may be held, and what is done about it.
///
/// The shares are of the total budget, and of the resident limit if there is one; the larger of the two counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GovernorLimits {
    /// What all pools may hold together, in bytes.
    pub total_bytes: u64,
    /// What reservations and holdings of each pool may come to, in bytes. Only [`Governor::reserve`] enforces it: what a pool holds
    /// without a reservation, the pool bounds.
    pub pools: PerPool<u64>,
    /// What the process may have, in bytes; `None` if that does not matter.
    pub resident_bytes: Option<u64>,
    /// Conservative mode begins at this share.
    pub conserve_at: f64,
    /// Conservative mode ends below this share.
    pub resume_below: f64,
    /// Above this share everything that can be had again is purged.
    pub purge_above: f64,
}

impl GovernorLimits {
    /// Default of [`conserve_at`](Self::conserve_at), our choice: a tenth is left for what is already on its way.
    pub const CONSERVE_AT: f64 = 0.9;
    /// Default of [`resume_below`](Self::resume_below), our choice: so far below that one kernel more or less does not end it.
    pub const RESUME_BELOW: f64 = 0.75;
    /// Default of [`purge_above`](Self::purge_above): the budget itself.
    pub const PURGE_ABOVE: f64 = 1.0;

    /// Whether the limits make sense together: budgets are above 0, and `0 < resume_below <= conserve_at <= purge_above`.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let shares = [self.resume_below, self.conserve_at, self.purge_above];
        self.total_bytes > 0
            && self.resident_bytes != Some(0)
            && self.resume_below > 0.0
            && shares.is_sorted()
            && shares.iter().all(|share| share.is_finite())
    }
}

impl Default for GovernorLimits {
    /// No limits on bytes, and the default shares.
    fn default() -> Self {
        Self {
            total_bytes: u64::MAX,
            pools: PerPool::new(|_| u64::MAX),
            resident_bytes: None,
            conserve_at: Self::CONSERVE_AT,
            resume_below: Self::RESUME_BELOW,
            purge_above: Self::PURGE_ABOVE,
        }
    }
}

/// How memory stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assessment {
    /// The larger share: of the total budget that is held, or of the resident limit.
    pub pressure: f64,
    /// Whether to save: nothing new should be started that needs memory.
    pub conserving: bool,
    /// Whether `conserving` has changed with this assessment.
    pub changed: bool,
    /// Whether to purge now: the hard limit is exceeded, and some pool holds what a purge would free.
    pub purge: bool,
    /// The budget that the pressure is of.
    pub budget: Budget,
    /// What is held of it, in bytes.
    pub held: u64,
    /// That budget, in bytes.
    pub limit: u64,
}

/// What was freed since the governor was made, by pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreedTotals {
    /// It had expired.
    pub expired: PerPool<Freed>,
    /// A purge freed it.
    pub purged: PerPool<Freed>,
}

/// Watches what all pools hold together. It holds nothing itself: pools are handed to it, and time is an argument.
///
/// Conservative mode has hysteresis: it begins at one share of the budget and ends below a smaller one, so a holding that stays near one
/// of the two does not switch it on and off.
#[derive(Debug)]
pub struct Governor {
    limits: GovernorLimits,
    reported: PerPool<Holding>,
    reserved: PerPool<Arc<Ledger>>,
    resident: Option<u64>,
    conserving: bool,
    freed: FreedTotals,
}

impl Governor {
    /// A governor of pools that hold nothing.
    #[must_use]
    pub fn new(limits: GovernorLimits) -> Self {
        Self {
            limits,
            reported: PerPool::default(),
            reserved: PerPool::new(|_| Arc::default()),
            resident: None,
            conserving: false,
            freed: FreedTotals::default(),
        }
    }

    /// The limits.
    #[must_use]
    pub const fn limits(&self) -> &GovernorLimits {
        &self.limits
    }

    /// Takes what the pools hold, but for what is reserved, and the resident memory of the process, if that is known. Says how memory
    /// stands.
    pub fn assess(&mut self, held: &PerPool<Holding>, resident: Option<u64>) -> Assessment {
        (self.reported, self.resident) = (*held, resident);
        let (pressure, budget, held, limit) = self.pressure();
        let was = self.conserving;
        self.conserving = if was { pressure >= self.limits.resume_below } else { pressure >= self.limits.conserve_at };
        let purgeable = self.reported.iter().any(|(_, held)| held.bytes > held.pinned);
        let purge = purgeable && pressure > self.limits.purge_above;
        let (conserving, changed) = (self.conserving, self.conserving != was);
        Assessment { pressure, conserving, changed, purge, budget, held, limit }
    }

    /// The larger share, and what it is of.
    fn pressure(&self) -> (f64, Budget, u64, u64) {
        let share = |held: u64, limit: u64| held as f64 / limit.max(1) as f64;
        let (held, limit) = (self.total(), self.limits.total_bytes);
        let pools = (share(held, limit), Budget::Total, held, limit);
        let process = self.resident.zip(self.limits.resident_bytes);
        let process = process.map(|(held, limit)| (share(held, limit), Budget::Resident, held, limit));
        process.filter(|process| process.0 > pools.0).unwrap_or(pools)
    }

    /// Frees what has expired in these pools, and returns what that was.
    pub fn collect(&mut self, pools: &mut [(Pool, &mut dyn Evict)], now: Monotonic) -> PerPool<Freed> {
        let freed = self.visit(pools, |evict| evict.collect(now));
        for (pool, freed) in freed.iter() {
            self.freed.expired[pool] += *freed;
        }
        freed
    }

    /// Frees everything in these pools that can be had again, and returns what that was.
    pub fn purge(&mut self, pools: &mut [(Pool, &mut dyn Evict)]) -> PerPool<Freed> {
        let freed = self.visit(pools, |evict| evict.purge());
        for (pool, freed) in freed.iter() {
            self.freed.purged[pool] += *freed;
        }
        freed
    }

    fn visit(
        &mut self,
        pools: &mut [(Pool, &mut dyn Evict)],
        free: impl Fn(&mut dyn Evict) -> Freed,
    ) -> PerPool<Freed> {
        let mut freed = PerPool::<Freed>::default();
        for (pool, evict) in pools {
            freed[*pool] += free(*evict);
            self.reported[*pool] = evict.holding();
        }
        freed
    }

    /// Promises bytes of a pool: ask before they are taken. The budgets count them as held until the reservation is dropped.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool's budget, the total, or the resident limit does not allow them; nothing is reserved.
    pub fn reserve(&mut self, pool: Pool, bytes: u64) -> Result<Reservation, OverBudget> {
        let resident = self.resident.zip(self.limits.resident_bytes);
        let budgets = [
            (Budget::Pool, self.held(pool).bytes, self.limits.pools[pool]),
            (Budget::Total, self.total(), self.limits.total_bytes),
        ];
        let budgets = budgets.into_iter().chain(resident.map(|(held, limit)| (Budget::Resident, held, limit)));
        for (budget, held, limit) in budgets {
            if held.checked_add(bytes).is_none_or(|sum| sum > limit) {
                return Err(OverBudget { pool, budget, asked: bytes, held, limit });
            }
        }
        Ok(Reservation::take(pool, bytes, &self.reserved[pool]))
    }

    /// Asks for everything back that is reserved in a pool now. Its owners see it ([`Reservation::is_withdrawn`]), and the bytes count as
    /// held until they drop it. What is reserved later is not concerned.
    pub fn withdraw(&self, pool: Pool) {
        self.reserved[pool].withdraw();
    }

    /// What a pool holds, as it was last looked at, with what is reserved in it now.
    #[must_use]
    pub fn held(&self, pool: Pool) -> Holding {
        let (reported, reserved) = (self.reported[pool], self.reserved(pool));
        let plus = |bytes: u64| bytes.saturating_add(reserved);
        Holding { bytes: plus(reported.bytes), pinned: plus(reported.pinned), ..reported }
    }

    /// The bytes that are reserved in a pool.
    #[must_use]
    pub fn reserved(&self, pool: Pool) -> u64 {
        self.reserved[pool].bytes()
    }

    /// The bytes of all pools.
    #[must_use]
    pub fn total(&self) -> u64 {
        Pool::ALL.into_iter().fold(0, |sum, pool| sum.saturating_add(self.held(pool).bytes))
    }

    /// The resident memory of the process when it was last looked at, if it is known.
    #[must_use]
    pub const fn resident(&self) -> Option<u64> {
        self.resident
    }

    /// Whether conservative mode is on.
    #[must_use]
    pub const fn is_conserving(&self) -> bool {
        self.conserving
    }

    /// What was freed so far.
    #[must_use]
    pub const fn freed(&self) -> &FreedTotals {
        &self.freed
    }
}
