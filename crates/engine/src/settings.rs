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
    /// Losses that G2 needs before it can judge. Fewer postpone it.
    pub min_losses: usize,
    /// The breaker that isolation violations open.
    pub isolation_breaker: BreakerSettings,
    /// The breaker that failed loads open.
    pub kernel_breaker: BreakerSettings,
}

impl EngineSettings {
    /// Violations of one seed, since it was last DORMANT, that cull it and open the isolation breaker. Source: Esper's
    /// contract.
    pub const VIOLATIONS: u64 = 3;

    /// The defaults for a run. Their sources are beside the settings that they come from.
    #[must_use]
    pub fn new(run: TrainingRunId) -> Self {
        Self {
            run,
            embargo: Duration::from_secs(30),
            fast_path: true,
            require_validation: false,
            min_losses: 8,
            isolation_breaker: BreakerSettings::default(),
            kernel_breaker: BreakerSettings::default(),
        }
    }

    /// Both breakers, by name.
    #[must_use]
    pub const fn breakers(&self) -> [(BreakerName, BreakerSettings); 2] {
        [(BreakerName::Isolation, self.isolation_breaker), (BreakerName::Kernels, self.kernel_breaker)]
    }
}
