//! The facts that each input needs. A new gate input is wanted here.

use kasmina_commands::Order;
use kasmina_leyline::Monotonic;
use smallvec::{SmallVec, smallvec};

use crate::{
    input::{Input, Want},
    overlay::Overlay,
    seed::Stage,
};

impl Overlay<'_> {
    /// As [`Engine::wants`](crate::Engine::wants), with what was adopted so far.
    #[must_use]
    pub fn wants(&self, input: &Input, now: Monotonic) -> SmallVec<[Want; 4]> {
        let slot = |id| self.seed(id).map(|seed| Want::Slot(seed.slot.clone()));
        match input {
            Input::Order(order) | Input::Command(_, order) => match order {
                Order::Germinate { seed, blueprint, .. } => {
                    slot(seed).into_iter().chain([Want::Descriptor(blueprint.clone())]).collect()
                }
                Order::StartTraining { seed } | Order::Resume { seed } => {
                    smallvec![Want::Rehearsal(seed.clone()), Want::Origin(seed.clone())]
                }
                Order::StartGrafting { seed, .. } => {
                    slot(seed).into_iter().chain([Want::Origin(seed.clone())]).collect()
                }
                Order::Stabilize { seed } => slot(seed)
                    .into_iter()
                    .chain([Want::Origin(seed.clone()), Want::Ownership(seed.clone()), Want::Packets(seed.clone())])
                    .collect(),
                Order::Evaluate { seed } | Order::Fossilize { seed } => smallvec![Want::Origin(seed.clone())],
                Order::Rollback { .. } => smallvec![Want::Epochs],
                Order::RollBackSeed { seed, epoch } => smallvec![Want::Checkpoint(seed.clone(), *epoch)],
                Order::FineTune { .. }
                | Order::Cull { .. }
                | Order::Cancel { .. }
                | Order::Pause { .. }
                | Order::Optimizer { .. }
                | Order::CircuitBreaker { .. }
                | Order::Emergency { .. }
                | Order::Terminate { .. } => SmallVec::new(),
            },
            Input::KernelReady(seed, _) if self.settings().fast_path => {
                smallvec![Want::Rehearsal(seed.clone()), Want::Origin(seed.clone())]
            }
            Input::Tick => {
                let due = self.due(now).map(|seed| &seed.id);
                due.flat_map(|seed| [Want::Ownership(seed.clone()), Want::Remains(seed.clone())]).collect()
            }
            // G2 looks again at every seed in BLENDING.
            Input::StepTaken(_) => {
                let blending = self.seeds().filter(|seed| matches!(seed.stage, Stage::Blending(..)));
                blending.map(|seed| Want::Origin(seed.id.clone())).collect()
            }
            Input::Register(..)
            | Input::Forget(_)
            | Input::KernelReady(..)
            | Input::KernelFailed(..)
            | Input::AlphaAdvanced
            | Input::HostPass(_)
            | Input::HostPassFailed(_)
            | Input::LearningPass(_)
            | Input::Probe(..)
            | Input::Interaction { .. }
            | Input::PauseProof(..)
            | Input::ModelSettled { .. }
            | Input::ModelRestored(_)
            | Input::RngSeeded(_)
            | Input::Memory(_)
            | Input::Flushed { .. }
            | Input::Validation(_)
            | Input::EpochEnded
            | Input::RolledBack(..)
            | Input::RollbackAbandoned => SmallVec::new(),
        }
    }
}
