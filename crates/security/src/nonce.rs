//! The commands that have been seen.

mod fingerprints;

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use fingerprints::{Fingerprint, Fingerprints};
use kasmina_leyline::{CommandId, Monotonic, UnixTime};

/// Remembers command ids for a while, and makes sure that forgotten ones cannot be replayed.
///
/// It forgets an id when its time to live is over or when the capacity is reached. Each time, the watermark moves to the forgotten
/// command's time of issue, and nothing that was issued at the watermark or before is admitted. So a replay is either remembered or
/// too old, whatever the wall clock does. Every call takes amortised O(1).
///
/// Of an id it remembers a hash of 64 bits, with a key of its own. An id that was seen is always recognised. A new one is taken for a
/// replay with a probability of one in 2^64 for each id that is remembered: less than one in 10^15 at the capacity of the contract.
///
/// If it wrongly admits an id, a captured command is obeyed twice. If it wrongly refuses one, its sender must sign again.
#[derive(Clone, Debug)]
pub struct NonceLedger {
    ttl: Duration,
    capacity: usize,
    hasher: RandomState,
    seen: Fingerprints,
    /// In order of arrival.
    order: VecDeque<Entry>,
    /// Commands issued at this time or before are too old.
    watermark: Option<UnixTime>,
    /// The time of the last reset.
    reset: Option<UnixTime>,
    evictions: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: Fingerprint,
    issued_at: UnixTime,
    forget_at: Monotonic,
}

/// Why an id was not admitted.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceRefusal {
    Replayed,
    /// It was issued at the watermark or before, so it may have been seen and forgotten.
    Forgotten,
}

/// The state of a [`NonceLedger`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerGauges {
    /// Ids that are remembered.
    pub size: usize,
    /// Ids that were forgotten early because the capacity was reached.
    pub evictions_total: u64,
    /// How long ids are remembered.
    pub ttl: Duration,
    /// Nothing that was issued at this time or before is admitted.
    pub watermark: Option<UnixTime>,
}

impl NonceLedger {
    /// Esper's contract: an id is remembered for 300 s.
    pub const TTL: Duration = Duration::from_secs(300);
    /// Esper's contract: at most 10,000 ids are remembered.
    pub const CAPACITY: usize = 10_000;

    /// An empty ledger. A capacity of 0 counts as 1.
    #[must_use]
    pub fn new(ttl: Duration, capacity: usize) -> Self {
        Self {
            ttl,
            capacity: capacity.max(1),
            hasher: RandomState::new(),
            seen: Fingerprints::default(),
            order: VecDeque::new(),
            watermark: None,
            reset: None,
            evictions: 0,
        }
    }

    /// Admits an id once, and remembers it.
    ///
    /// # Errors
    /// [`NonceRefusal`]; nothing is remembered.
    pub fn admit(&mut self, id: &CommandId, issued_at: UnixTime, now: Monotonic) -> Result<(), NonceRefusal> {
        let id = self.fingerprint(id);
        if let Some(oldest) = self.order.front() {
            self.seen.fetch([id, oldest.id]);
        }
        while self.order.front().is_some_and(|entry| entry.forget_at <= now) {
            self.forget();
        }
        let is_old = |ledger: &Self| ledger.watermark.is_some_and(|watermark| issued_at <= watermark);
        let is_full = self.order.len() == self.capacity;
        if (is_old(self) || is_full) && self.seen.contains(id) {
            return Err(NonceRefusal::Replayed);
        }
        if is_old(self) {
            return Err(NonceRefusal::Forgotten);
        }
        if is_full {
            self.forget();
            self.evictions += 1;
            // The forgotten command may have been issued after this one.
            if is_old(self) {
                return Err(NonceRefusal::Forgotten);
            }
        }
        if !self.seen.insert(id) {
            return Err(NonceRefusal::Replayed);
        }
        self.order.push_back(Entry { id, issued_at, forget_at: now.after(self.ttl) });
        Ok(())
    }

    /// How long ids are remembered.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Nothing that was issued at this time or before is admitted.
    #[must_use]
    pub const fn watermark(&self) -> Option<UnixTime> {
        self.watermark
    }

    /// The time of the last reset.
    pub(crate) const fn reset(&self) -> Option<UnixTime> {
        self.reset
    }

    /// Lowers the watermark to `now` if it is later, and keeps ids that are still remembered from raising it again. Returns whether
    /// it was lowered. See [`CommandVerifier::reset_watermark`](crate::CommandVerifier::reset_watermark) for the price.
    pub fn reset_watermark(&mut self, now: UnixTime) -> bool {
        for entry in &mut self.order {
            entry.issued_at = entry.issued_at.min(now);
        }
        self.reset = Some(now);
        let ahead = self.watermark > Some(now);
        if ahead {
            self.watermark = Some(now);
        }
        ahead
    }

    /// Restores ids that were admitted before a restart, for a full time to live from `now`. Ids beyond the capacity are forgotten
    /// and move the watermark.
    pub fn restore(&mut self, seen: impl IntoIterator<Item = (CommandId, UnixTime)>, now: Monotonic) {
        for (id, issued_at) in seen {
            if self.order.len() == self.capacity {
                self.forget();
                self.evictions += 1;
            }
            let id = self.fingerprint(&id);
            if self.seen.insert(id) {
                self.order.push_back(Entry { id, issued_at, forget_at: now.after(self.ttl) });
            }
        }
    }

    /// Admits nothing from now on that was issued at `time` or before. Ids that were issued then are forgotten, because the watermark
    /// stands for them.
    pub fn forget_all_before(&mut self, time: UnixTime) {
        self.watermark = self.watermark.max(Some(time));
        let (seen, watermark) = (&mut self.seen, self.watermark);
        self.order.retain(|entry| {
            let newer = watermark < Some(entry.issued_at);
            if !newer {
                seen.remove(entry.id);
            }
            newer
        });
    }

    /// The ledger's state, for telemetry.
    #[must_use]
    pub fn gauges(&self) -> LedgerGauges {
        LedgerGauges {
            size: self.order.len(),
            evictions_total: self.evictions,
            ttl: self.ttl,
            watermark: self.watermark,
        }
    }

    fn fingerprint(&self, id: &CommandId) -> Fingerprint {
        Fingerprint::new(self.hasher.hash_one(id)).unwrap_or(Fingerprint::MIN)
    }

    fn forget(&mut self) {
        if let Some(entry) = self.order.pop_front() {
            self.seen.remove(entry.id);
            self.watermark = self.watermark.max(Some(entry.issued_at));
        }
    }
}

impl Default for NonceLedger {
    fn default() -> Self {
        Self::new(Self::TTL, Self::CAPACITY)
    }
}
