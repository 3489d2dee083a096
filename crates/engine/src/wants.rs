//! The facts that each input needs. A new gate input is wanted here.

use kasmina_commands::Order;
use kasmina_leyline::Monotonic;

use crate::{
    input::{Input, Want},
    overlay::Overlay,
};

impl Overlay<'_> {
    /// As [`Engine::wants`](crate::Engine::wants), with what was adopted so far.
    #[must_use]
    pub fn wants(&self, input: &Input, now: Monotonic) -> Vec<Want> {
        let slot = |id| self.seed(id).map(|seed| Want::Slot(seed.slot.clone()));
        match input {
            Input::Order(order) => match order {
                Order::Germinate { seed, blueprint, .. } => {
                    slot(seed).into_iter().chain([Want::Descriptor(blueprint.clone())]).collect()
                }
                Order::StartTraining { seed } | Order::Resume { seed } => vec![Want::Rehearsal(seed.clone())],
                Order::StartGrafting { seed, .. } => slot(seed).into_iter().collect(),
                Order::Stabilize { seed } => slot(seed)
                    .into_iter()
                    .chain([Want::Ownership(seed.clone()), Want::Packets(seed.clone()), Want::PauseProof(seed.clone())])
                    .collect(),
                Order::Rollback { .. } => vec![Want::Epochs],
                Order::RollBackSeed { seed, epoch } => vec![Want::Checkpoint(seed.clone(), *epoch)],
                Order::Evaluate { .. }
                | Order::FineTune { .. }
                | Order::Fossilize { .. }
                | Order::Cull { .. }
                | Order::Cancel { .. }
                | Order::Pause { .. }
                | Order::Optimizer { .. }
                | Order::CircuitBreaker { .. }
                | Order::Emergency { .. }
                | Order::Terminate { .. } => Vec::new(),
            },
            Input::KernelReady(seed, _) if self.settings().fast_path => vec![Want::Rehearsal(seed.clone())],
            Input::Tick => self.due(now).map(|seed| Want::Ownership(seed.id.clone())).collect(),
            Input::Register(..)
            | Input::KernelReady(..)
            | Input::KernelFailed(..)
            | Input::HostPass(_)
            | Input::HostPassFailed(_)
            | Input::SeedPass(..)
            | Input::Probe(..)
            | Input::StepTaken(_)
            | Input::Validation(_)
            | Input::EpochEnded
            | Input::RolledBack(..)
            | Input::RollbackAbandoned => Vec::new(),
        }
    }
}
