//! The settings of the load manager.

use std::time::Duration;

use kasmina_safety::BreakerSettings;
use serde::{Deserialize, Serialize};

use crate::ArtifactLimits;

/// How much a [`KernelLoadManager`](crate::KernelLoadManager) may do at once, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadSettings {
    /// Threads that fetch, hash and verify. They start with the first loads, and on Linux with a lower priority than the
    /// trainer's (nice 10), so that they do not slow its steps. Zero counts as one. Default 4, our choice: one slow load
    /// does not hold up the next.
    pub threads: usize,
    /// Bytes in flight. A load that runs counts with `limits.max_bytes` until its file has been read, then with the
    /// file's size; a kernel that nobody has polled yet counts with its parameters. Other loads wait until there is
    /// room. While a file is checked, its parameters exist beside it. Default 1 GiB, our choice: every thread can read
    /// the largest file.
    pub in_flight_bytes: u64,
    /// Requests that may be outstanding. Default 1024, our choice: far more than a host has slots.
    pub max_requests: usize,
    /// How long a request may take, in milliseconds. Default 30,000, our choice: as long as the embargo of a culled
    /// seed.
    pub timeout_ms: u64,
    /// How long a shutdown waits for loads that are running, in milliseconds. Default 1,000, our choice: longer than
    /// most reads take.
    pub shutdown_ms: u64,
    /// The cache's budget in bytes of parameters. Default 256 MiB, our choice: hundreds of kernels of the usual size.
    pub cache_bytes: u64,
    /// How long a kernel stays cached, in seconds. Default 3600, our choice: a kernel's content never changes, so this
    /// only limits memory.
    pub cache_ttl_seconds: u64,
    /// The breaker of the library. Default, Esper's contract: 3 failures within 60 s open it.
    pub breaker: BreakerSettings,
    /// The limits on an artifact.
    pub limits: ArtifactLimits,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            threads: 4,
            in_flight_bytes: 1 << 30,
            max_requests: 1024,
            timeout_ms: 30_000,
            shutdown_ms: 1_000,
            cache_bytes: 256 << 20,
            cache_ttl_seconds: 3_600,
            breaker: BreakerSettings { window: Duration::from_secs(60), ..BreakerSettings::default() },
            limits: ArtifactLimits::default(),
        }
    }
}
