//! What the engine must know of the run.

use std::time::Duration;

use kasmina_commands::BreakerName;
use kasmina_leyline::TrainingRunId;
use kasmina_safety::BreakerSettings;

/// What the engine must know of the run, and never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// The run that G0 is shown.
    pub run: TrainingRunId,
    /// How long a culled seed rests.
    pub embargo: Duration,
    /// Whether a kernel that arrives is carried on through G1 at once.
    pub fast_path: bool,
    /// Whether FOSSILIZE needs metrics of the whole network.
    pub require_validation: bool,
    /// Steps from one probe to the next, all seeds taken together; 0 counts as 1. See [`State::measurements`](crate::State::measurements).
    pub probe_every: u64,
    /// How long a kernel and its blend may take in one pass before the blending breaker counts a failure.
    pub blend_budget: Duration,
    /// Whether this engine is one of several that get the same inputs, in the workers of one run. After a rollback they are alike, whatever
    /// each has seen: breakers are closed, and seeds that were registered since are forgotten.
    pub replicated: bool,
    /// The breaker that isolation violations open.
    pub isolation_breaker: BreakerSettings,
    /// The breaker that failed loads open.
    pub kernel_breaker: BreakerSettings,
    /// The breaker that grafts open which fail or take too long.
    pub blending_breaker: BreakerSettings,
    /// The breaker that failed flushes of telemetry open.
    pub telemetry_breaker: BreakerSettings,
}

impl EngineSettings {
    /// Violations of one seed, since it was last DORMANT, that cull it and open the isolation breaker. Source: Esper's
    /// contract.
    pub const VIOLATIONS: u64 = 3;

    /// The time in which failed or slow grafts are counted. Our choice: many steps lie in it, and nearly all of them succeed.
    pub const BLENDING_WINDOW: Duration = Duration::from_secs(60);

    /// The defaults for a run. Their sources are beside the settings that they come from.
    #[must_use]
    pub fn new(run: TrainingRunId) -> Self {
        Self {
            run,
            embargo: Duration::from_secs(30),
            fast_path: true,
            require_validation: false,
            // With two forwards a probe, that is one extra forward a step.
            probe_every: 2,
            // As G2's `max_blend_ms`.
            blend_budget: Duration::from_millis(100),
            replicated: false,
            isolation_breaker: BreakerSettings::default(),
            kernel_breaker: BreakerSettings::default(),
            blending_breaker: BreakerSettings { window: Self::BLENDING_WINDOW, ..BreakerSettings::default() },
            telemetry_breaker: BreakerSettings::default(),
        }
    }

    /// All breakers, by name.
    #[must_use]
    pub const fn breakers(&self) -> [(BreakerName, BreakerSettings); 4] {
        [
            (BreakerName::Isolation, self.isolation_breaker),
            (BreakerName::Kernels, self.kernel_breaker),
            (BreakerName::Blending, self.blending_breaker),
            (BreakerName::Telemetry, self.telemetry_breaker),
        ]
    }
}
