//! Settings of memory.

use std::time::Duration;

use kasmina_memory::{CacheLimits, GovernorLimits, PerPool, Pool};
use serde::{Deserialize, Serialize};

/// What a packet takes in memory for each byte on the wire. Measured: a packet of 284 bytes takes 5.8 kB, one of 561 bytes
/// 10.8 kB. Each map of attributes is a node with room for eleven.
pub(crate) const MEMORY_PER_WIRE_BYTE: u64 = 20;

/// Memory: budgets of the pools, and what is done when they are used up. The budget of cached kernels is `kernels.cache_bytes`.
///
/// What the pools hold is compared with `total_bytes`, and the resident memory of the process with `resident_bytes`, if that is set; the
/// larger share counts. At `conserve_at` conservative mode begins: no seed germinates (`memory_pressure`), and nothing else changes. It
/// ends by itself below `resume_below`. Above `purge_above` everything that can be had again is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// What all pools may hold together. Default 10 GiB, our choice: the pools at the defaults of their own budgets are 68 % of it, so
    /// that full caches, which make room for themselves, and a teacher stop no seed.
    pub total_bytes: u64,
    /// The budget of blueprints' descriptors. Default 1 MiB, our choice: some thousands of them.
    pub blueprint_bytes: u64,
    /// How long a descriptor is kept, in seconds. Default 3600, as for kernels. G0 always asks the library.
    pub blueprint_ttl_seconds: u64,
    /// The budget of packets that wait for a failing sink and are not critical, for each sink. Default 32 MiB, our choice: some
    /// 3,000 packets with five events.
    pub telemetry_bytes: u64,
    /// How long such a packet waits, in seconds, before the next clean-up drops it. Default 900: the bus does not take older ones.
    pub telemetry_ttl_seconds: u64,
    /// What may be reserved for a teacher. Default 7 GB, Esper's contract: 1.75 billion parameters in f32.
    pub teacher_bytes: u64,
    /// What the process may have in resident memory. Default: that does not matter, because only you know what else runs there.
    pub resident_bytes: Option<u64>,
    /// Conservative mode begins at this share of a budget. Default 0.9: [`GovernorLimits::CONSERVE_AT`].
    pub conserve_at: f64,
    /// Conservative mode ends below this share. Default 0.75: [`GovernorLimits::RESUME_BELOW`].
    pub resume_below: f64,
    /// Above this share caches are purged. Default 1.0: [`GovernorLimits::PURGE_ABOVE`].
    pub purge_above: f64,
}

impl MemorySettings {
    /// The least budget of packets. Our choice: a packet with one event takes some 6 kB in memory, so that this is a few of them.
    pub const LEAST_TELEMETRY_BYTES: u64 = 64 << 10;

    /// What the governor must know, with the budget of cached kernels.
    pub(crate) fn governor(&self, kernel_bytes: u64) -> GovernorLimits {
        let pools = PerPool::new(|pool| match pool {
            Pool::Kernels => kernel_bytes,
            Pool::Blueprints => self.blueprint_bytes,
            Pool::Telemetry => self.telemetry_bytes,
            Pool::Teacher => self.teacher_bytes,
        });
        let Self { total_bytes, resident_bytes, conserve_at, resume_below, purge_above, .. } = *self;
        GovernorLimits { total_bytes, pools, resident_bytes, conserve_at, resume_below, purge_above }
    }

    /// The limits of cached descriptors.
    pub(crate) const fn blueprints(&self) -> CacheLimits {
        CacheLimits { bytes: self.blueprint_bytes, ttl: Duration::from_secs(self.blueprint_ttl_seconds) }
    }

    /// The budget of telemetry, in bytes on the wire.
    pub(crate) const fn telemetry_wire_bytes(&self) -> u64 {
        self.telemetry_bytes / MEMORY_PER_WIRE_BYTE
    }

    /// How long packets wait.
    pub(crate) const fn telemetry_ttl(&self) -> Duration {
        Duration::from_secs(self.telemetry_ttl_seconds)
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            total_bytes: 10 << 30,
            blueprint_bytes: 1 << 20,
            blueprint_ttl_seconds: 3600,
            telemetry_bytes: 32 << 20,
            telemetry_ttl_seconds: 900,
            teacher_bytes: 7_000_000_000,
            resident_bytes: None,
            conserve_at: GovernorLimits::CONSERVE_AT,
            resume_below: GovernorLimits::RESUME_BELOW,
            purge_above: GovernorLimits::PURGE_ABOVE,
        }
    }
}
