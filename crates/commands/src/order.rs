//! What can be asked of Kasmina.

use std::{collections::BTreeMap, fmt};

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{BlueprintTier, CircuitBreakerState, CommandType},
};
use serde::{Deserialize, Serialize};

/// One order, understood. The docs of each variant say what it asks for; whether it is carried out depends on the seed's stage
/// and the gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it; units are in the docs of the variants")]
pub enum Order {
    /// Graft the blueprint's kernel at the seed's slot. `tier`, if given, must be the catalogue's. `parameters` go to the
    /// kernel, and `lr_scale` (above 0) multiplies the seed's learning rate.
    Germinate {
        seed: SeedId,
        blueprint: BlueprintId,
        tier: Option<BlueprintTier>,
        parameters: BTreeMap<String, f32>,
        lr_scale: f64,
    },
    /// Train a GERMINATED seed.
    StartTraining { seed: SeedId },
    /// Blend a TRAINING seed in.
    StartGrafting { seed: SeedId, blend: BlendConfig, schedule: AlphaSchedule },
    /// Move a BLENDING seed to SHADOWING.
    Stabilize { seed: SeedId },
    /// Move a SHADOWING seed to PROBATIONARY.
    Evaluate { seed: SeedId },
    /// Let a PROBATIONARY seed learn for `steps` more batches, 1 to 2^24.
    FineTune { seed: SeedId, steps: u64 },
    /// Make a PROBATIONARY seed part of the host.
    Fossilize { seed: SeedId },
    /// Take a seed out: at once, or, if it is in the live blend, after alpha has been ramped down over `blend_out_steps` batches (0 to
    /// 2^24; 0: at once).
    Cull {
        seed: SeedId,
        #[serde(default)]
        blend_out_steps: u32,
    },
    /// Take a seed out, if it is not BLENDING yet.
    Cancel { seed: SeedId },
    /// Make the seed's slot the identity.
    Pause { seed: SeedId },
    /// Reverse [`Pause`](Self::Pause).
    Resume { seed: SeedId },
    /// Multiply the seed's learning rate by `lr_scale` (above 0), in place of an earlier scale.
    Optimizer { seed: SeedId, lr_scale: f64 },
    /// Force a breaker into a state.
    CircuitBreaker { breaker: BreakerName, state: CircuitBreakerState },
    /// Empty the caches, and drop the teacher if asked to.
    Emergency { include_teacher: bool },
    /// Go back to the checkpoint of an epoch, with everything.
    Rollback { epoch: u64 },
    /// Take one seed back to the checkpoint of an epoch, or to the newest one.
    RollBackSeed { seed: SeedId, epoch: Option<u64> },
    /// Retire a seed for good. An administrator's order: no command on the wire reads as it.
    Terminate { seed: SeedId },
}

/// A breaker that an order can force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerName {
    /// Opened by violations of gradient isolation.
    Isolation,
    /// Opened by kernels that cannot be loaded.
    Kernels,
    /// Opened by grafts that fail or take too long. While it is open, no seed is grafted and alpha does not rise.
    Blending,
    /// Opened by flushes of telemetry that fail. While it is open, telemetry is not flushed.
    Telemetry,
}

impl Order {
    /// The seed that it is about, if it is about one.
    #[must_use]
    pub const fn seed(&self) -> Option<&SeedId> {
        match self {
            Self::Germinate { seed, .. }
            | Self::StartTraining { seed }
            | Self::StartGrafting { seed, .. }
            | Self::Stabilize { seed }
            | Self::Evaluate { seed }
            | Self::FineTune { seed, .. }
            | Self::Fossilize { seed }
            | Self::Cull { seed, .. }
            | Self::Cancel { seed }
            | Self::Pause { seed }
            | Self::Resume { seed }
            | Self::Optimizer { seed, .. }
            | Self::RollBackSeed { seed, .. }
            | Self::Terminate { seed } => Some(seed),
            Self::CircuitBreaker { .. } | Self::Emergency { .. } | Self::Rollback { .. } => None,
        }
    }

    /// Its name in logs and on a command line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Germinate { .. } => "germinate",
            Self::StartTraining { .. } => "start_training",
            Self::StartGrafting { .. } => "start_grafting",
            Self::Stabilize { .. } => "stabilize",
            Self::Evaluate { .. } => "evaluate",
            Self::FineTune { .. } => "fine_tune",
            Self::Fossilize { .. } => "fossilize",
            Self::Cull { .. } => "cull",
            Self::Cancel { .. } => "cancel",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Optimizer { .. } => "optimizer",
            Self::CircuitBreaker { .. } => "circuit_breaker",
            Self::Emergency { .. } => "emergency",
            Self::Rollback { .. } => "rollback",
            Self::RollBackSeed { .. } => "roll_back_seed",
            Self::Terminate { .. } => "terminate",
        }
    }

    /// The type of the command that carries it; `None` for an order that is only given locally.
    #[must_use]
    pub const fn command_type(&self) -> Option<CommandType> {
        match self {
            Self::Germinate { .. }
            | Self::StartTraining { .. }
            | Self::StartGrafting { .. }
            | Self::Stabilize { .. }
            | Self::Evaluate { .. }
            | Self::FineTune { .. }
            | Self::Fossilize { .. }
            | Self::Cull { .. }
            | Self::Cancel { .. } => Some(CommandType::CommandSeed),
            Self::Pause { .. } | Self::Resume { .. } => Some(CommandType::CommandPause),
            Self::Optimizer { .. } => Some(CommandType::CommandOptimizer),
            Self::CircuitBreaker { .. } => Some(CommandType::CommandCircuitBreaker),
            Self::Emergency { .. } => Some(CommandType::CommandEmergency),
            Self::Rollback { .. } | Self::RollBackSeed { .. } => Some(CommandType::CommandRollback),
            Self::Terminate { .. } => None,
        }
    }
}

impl BreakerName {
    /// Every breaker.
    pub const ALL: [Self; 4] = [Self::Isolation, Self::Kernels, Self::Blending, Self::Telemetry];

    /// Its name in commands and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Isolation => "isolation",
            Self::Kernels => "kernels",
            Self::Blending => "blending",
            Self::Telemetry => "telemetry",
        }
    }
}

impl fmt::Display for BreakerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
