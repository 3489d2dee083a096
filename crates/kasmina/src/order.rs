//! Orders: what carrying each one out means.

use kasmina_commands::{BreakerName, Order, ReadError, ReadSettings, Unreadable};
use kasmina_leyline::v1::SeedLifecycleStage::{
    SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized, SeedStageGerminated,
    SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated, SeedStageTraining,
    SeedStageUnknown,
};

use crate::{GraftBackend, Refusal, SeedManager, context::Wanted};

impl<B: GraftBackend> SeedManager<B> {
    /// Does what an order says.
    pub(crate) fn execute(&mut self, order: Order) -> Result<(), Refusal> {
        if let (Some(epoch), false) = (self.commanded, works_before_a_rollback(&order)) {
            return Err(Refusal::RollbackPending { epoch });
        }
        self.carry_out(order)
    }

    pub(crate) fn read_settings(&self) -> ReadSettings {
        ReadSettings {
            run: self.run.clone(),
            max_alpha_vec: self.settings.blending.max_alpha_vec,
            default_total_steps: self.settings.blending.total_steps,
            degraded_below: self.settings.commands.degraded_below,
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<(), Refusal> {
        match order {
            Order::Germinate { seed, blueprint, tier, parameters, lr_scale } => {
                self.germinate(&seed, &Wanted { blueprint, tier }, parameters, lr_scale)
            }
            Order::StartTraining { seed } => self.start_training(&seed),
            Order::StartGrafting { seed, blend, schedule } => self.start_grafting(&seed, blend, schedule),
            Order::Stabilize { seed } => self.stabilize(&seed),
            Order::Evaluate { seed } => self.evaluate(&seed),
            Order::Fossilize { seed } => self.fossilize(&seed),
            Order::Cull { seed } => self.cull(&seed, "command"),
            Order::Cancel { seed } => match self.seed(&seed)?.stage() {
                SeedStageGerminated | SeedStageTraining => self.cull(&seed, "cancelled"),
                SeedStageUnknown
                | SeedStageDormant
                | SeedStageBlending
                | SeedStageShadowing
                | SeedStageProbationary
                | SeedStageFossilized
                | SeedStageCulled
                | SeedStageEmbargoed
                | SeedStageResetting
                | SeedStageTerminated => {
                    Err(self.wrong_stage(&seed, "CANCEL works before BLENDING; CULL works until FOSSILIZED"))
                }
            },
            Order::FineTune { seed, steps } => self.fine_tune(&seed, steps),
            Order::Pause { seed } => self.pause(&seed),
            Order::Resume { seed } => self.resume(&seed),
            Order::Optimizer { seed, lr_scale } => {
                self.grafted(&seed)?;
                self.registry.set_learning_rate_scale(&seed, lr_scale)?;
                Ok(())
            }
            Order::CircuitBreaker { breaker, state } => {
                let now = self.clock.monotonic();
                let event = match breaker {
                    BreakerName::Isolation => self.breakers.isolation.force(state, now),
                    BreakerName::Kernels => self.breakers.kernels.force(state, now),
                };
                let event = event.map_err(|error| Refusal::Malformed {
                    field: "circuit_breaker.desired_state",
                    cause: error.to_string(),
                })?;
                self.reporter.breaker(breaker.as_str(), event);
                Ok(())
            }
            Order::Emergency { include_teacher } => {
                let evicted = self.kernels.purge();
                self.reporter.collected(&evicted);
                if include_teacher {
                    self.registry.drop_teacher();
                }
                Ok(())
            }
            Order::Rollback { epoch } => self.command_rollback(epoch),
            Order::RollBackSeed { seed, epoch } => self.roll_back_seed(&seed, epoch),
            // No command reads as it.
            Order::Terminate { .. } => Err(Refusal::Unsupported("terminate")),
        }
    }
}

/// Whether it makes sense between the command to go back and the trainer's doing so: what it would change is about to go.
const fn works_before_a_rollback(order: &Order) -> bool {
    match order {
        Order::Rollback { .. } | Order::CircuitBreaker { .. } | Order::Emergency { .. } => true,
        Order::Germinate { .. }
        | Order::StartTraining { .. }
        | Order::StartGrafting { .. }
        | Order::Stabilize { .. }
        | Order::Evaluate { .. }
        | Order::FineTune { .. }
        | Order::Fossilize { .. }
        | Order::Cull { .. }
        | Order::Cancel { .. }
        | Order::Pause { .. }
        | Order::Resume { .. }
        | Order::Optimizer { .. }
        | Order::RollBackSeed { .. }
        | Order::Terminate { .. } => false,
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable.error {
            ReadError::InvalidId(error) => Self::InvalidId(error),
            ReadError::Malformed { field, cause } => Self::Malformed { field, cause },
            ReadError::DeadlineExceeded { deadline_ms, late_ms } => Self::DeadlineExceeded { deadline_ms, late_ms },
            ReadError::WrongRun { expected, got } => Self::WrongRun { expected, got },
            ReadError::Blend(refusal) => Self::Blend(refusal),
            ReadError::Unsupported(name) => Self::Unsupported(name),
            other => Self::Malformed { field: "command", cause: other.to_string() },
        }
    }
}
