//! What memory is held for, and the seam to whatever holds it.

use std::{
    hash::Hash,
    ops::{AddAssign, Index, IndexMut},
};

use kasmina_leyline::Monotonic;

use crate::{Cache, Evicted};

/// What memory is held for. Each pool has a budget of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// Artifacts of kernels that were fetched and verified.
    Kernels,
    /// Descriptors of blueprints that were looked up.
    Blueprints,
    /// Packets that wait for a sink.
    Telemetry,
    /// The teacher of a distillation.
    Teacher,
}

impl Pool {
    /// All pools.
    pub const ALL: [Self; 4] = [Self::Kernels, Self::Blueprints, Self::Telemetry, Self::Teacher];

    /// Its name in telemetry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernels => "kernels",
            Self::Blueprints => "blueprints",
            Self::Telemetry => "telemetry",
            Self::Teacher => "teacher",
        }
    }
}

/// A value for each pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerPool<T>([T; 4]);

impl<T> PerPool<T> {
    /// The value that `of` gives for each pool.
    pub fn new(of: impl FnMut(Pool) -> T) -> Self {
        Self(Pool::ALL.map(of))
    }

    /// Every pool with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Pool, &T)> {
        Pool::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Pool> for PerPool<T> {
    type Output = T;

    fn index(&self, pool: Pool) -> &T {
        &self.0[pool as usize]
    }
}

impl<T> IndexMut<Pool> for PerPool<T> {
    fn index_mut(&mut self, pool: Pool) -> &mut T {
        &mut self.0[pool as usize]
    }
}

/// What a pool holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of the bytes that a purge would leave.
    pub pinned: u64,
}

/// What one call, or all calls so far, freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for Freed {
    fn add_assign(&mut self, more: Self) {
        self.entries = self.entries.saturating_add(more.entries);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

impl From<Evicted> for Freed {
    fn from(evicted: Evicted) -> Self {
        Self { entries: evicted.entries(), bytes: evicted.bytes }
    }
}

/// Something that holds memory and can give it back.
///
/// What it says it freed must be what [`holding`](Self::holding) says it holds less. A wrong count does no harm but to whoever reads
/// the telemetry: the [`Governor`](crate::Governor) asks for the holding anew each time.
pub trait Evict {
    /// What it holds.
    fn holding(&self) -> Holding;

    /// Frees what has expired.
    fn collect(&mut self, now: Monotonic) -> Freed;

    /// Frees everything that can be had again.
    fn purge(&mut self) -> Freed;
}

impl<K: Hash + Eq + Clone, V> Evict for Cache<K, V> {
    fn holding(&self) -> Holding {
        let stats = self.stats();
        Holding { entries: stats.entries, bytes: stats.bytes, pinned: 0 }
    }

    fn collect(&mut self, now: Monotonic) -> Freed {
        Self::collect(self, now).into()
    }

    fn purge(&mut self) -> Freed {
        Self::purge(self).into()
    }
}
