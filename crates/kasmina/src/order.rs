//! Commands: what each one asks for and what carrying it out means. A new command is one variant and one arm here.

use std::{collections::BTreeMap, time::Duration};

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_leyline::{
    BlueprintId, SeedId, UnixTime,
    v1::{
        AdaptationCommand, CircuitBreakerState, CommandSeedOperation, CommandType,
        SeedLifecycleStage::{
            SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
            SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated,
            SeedStageTraining, SeedStageUnknown,
        },
        SeedOperation,
        adaptation_command::Payload,
    },
};
use prost_types::{Struct, value::Kind};

use crate::{CommandContext, GraftBackend, Refusal, SeedManager, context::Wanted};

/// A command, understood.
#[derive(Clone, Debug, PartialEq)]
enum Order {
    Germinate { seed: SeedId, wanted: Wanted, parameters: BTreeMap<String, f32>, lr_scale: f64 },
    StartTraining { seed: SeedId },
    StartGrafting { seed: SeedId, blend: BlendConfig, schedule: AlphaSchedule },
    Stabilize { seed: SeedId },
    Evaluate { seed: SeedId },
    FineTune { seed: SeedId, steps: u64 },
    Fossilize { seed: SeedId },
    Cull { seed: SeedId },
    Cancel { seed: SeedId },
    Pause { seed: SeedId },
    Resume { seed: SeedId },
    Optimizer { seed: SeedId, lr_scale: f64 },
    CircuitBreaker { breaker: BreakerName, state: CircuitBreakerState },
    Emergency { include_teacher: bool },
    Rollback { epoch: u64 },
    RollBackSeed { seed: SeedId, epoch: Option<u64> },
}

/// Which breaker a command means: annotation `breaker`, `isolation` where it is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerName {
    Isolation,
    Kernels,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Does what a command says.
    pub(crate) fn execute(&mut self, command: &AdaptationCommand, context: &CommandContext) -> Result<(), Refusal> {
        self.check(command)?;
        let order = self.understand(command, context)?;
        if let (Some(epoch), false) = (self.commanded, order.works_before_a_rollback()) {
            return Err(Refusal::RollbackPending { epoch });
        }
        self.carry_out(order)
    }

    /// What must hold for a command of any type.
    fn check(&self, command: &AdaptationCommand) -> Result<(), Refusal> {
        if let Some(run) = command.annotations.get("training_run_id").filter(|run| *run != self.run.as_str()) {
            return Err(Refusal::WrongRun { expected: self.run.to_string(), got: run.clone() });
        }
        let deadline_ms = command.execution_deadline_ms;
        let issued_at = command.issued_at.map(UnixTime::from);
        if let (1.., Some(issued_at)) = (deadline_ms, issued_at) {
            let deadline = issued_at.after(Duration::from_millis(deadline_ms.into()));
            let late = self.clock.unix().since(deadline);
            if late > Duration::ZERO {
                return Err(Refusal::DeadlineExceeded { deadline_ms, late_ms: late.as_millis() as u64 });
            }
        }
        Ok(())
    }

    fn understand(&self, command: &AdaptationCommand, context: &CommandContext) -> Result<Order, Refusal> {
        let seed = || SeedId::new(&command.target_seed_id).map_err(Refusal::from);
        match (command.command_type(), &command.payload) {
            (CommandType::CommandSeed, Some(Payload::SeedOperation(operation))) => {
                self.understand_seed_operation(seed()?, operation, command, context)
            }
            (CommandType::CommandSeed, _) => Err(missing("seed_operation")),
            (CommandType::CommandPause, _) => Ok(match flag(command, "resume")? {
                true => Order::Resume { seed: seed()? },
                false => Order::Pause { seed: seed()? },
            }),
            (CommandType::CommandOptimizer, Some(Payload::OptimizerAdjustment(adjustment))) => {
                // A seed has one optimizer, which goes by the seed's name.
                if ![&String::new(), &command.target_seed_id].contains(&&adjustment.optimizer_id) {
                    return Err(malformed("optimizer_id", "is neither empty nor the target seed"));
                }
                only(&["lr_scale"], &adjustment.hyperparameters)?;
                let lr_scale = positive("lr_scale", &adjustment.hyperparameters)?;
                Ok(Order::Optimizer { seed: seed()?, lr_scale: lr_scale.ok_or_else(|| missing("lr_scale"))? })
            }
            (CommandType::CommandOptimizer, _) => Err(missing("optimizer_adjustment")),
            (CommandType::CommandCircuitBreaker, Some(Payload::CircuitBreaker(breaker))) => Ok(Order::CircuitBreaker {
                breaker: BreakerName::parse(command.annotations.get("breaker"))?,
                state: breaker.desired_state(),
            }),
            (CommandType::CommandCircuitBreaker, _) => Err(missing("circuit_breaker")),
            (CommandType::CommandEmergency, _) => {
                Ok(Order::Emergency { include_teacher: flag(command, "include_teacher")? })
            }
            (CommandType::CommandRollback, Some(Payload::RollbackPayload(payload))) => {
                understand_rollback(&command.target_seed_id, target_epoch(payload)?)
            }
            (CommandType::CommandRollback, _) => understand_rollback(&command.target_seed_id, None),
            (CommandType::CommandStructuralPruning, _) => Err(Refusal::Unsupported("COMMAND_STRUCTURAL_PRUNING")),
            (CommandType::CommandUnknown, _) => Err(malformed("command_type", command.command_type)),
        }
    }

    fn understand_seed_operation(
        &self,
        seed: SeedId,
        operation: &CommandSeedOperation,
        command: &AdaptationCommand,
        context: &CommandContext,
    ) -> Result<Order, Refusal> {
        let parameters = &operation.parameters;
        match operation.operation() {
            // The blueprint says what it may be made with: G0.
            SeedOperation::SeedOpGerminate => {}
            SeedOperation::SeedOpStartGrafting => only(&["alpha_total_steps", "alpha_temperature"], parameters)?,
            SeedOperation::SeedOpFineTune => only(&["steps"], parameters)?,
            SeedOperation::SeedOpStartTraining
            | SeedOperation::SeedOpStabilize
            | SeedOperation::SeedOpEvaluate
            | SeedOperation::SeedOpFossilize
            | SeedOperation::SeedOpCull
            | SeedOperation::SeedOpCancel
            | SeedOperation::SeedOpUnknown => only(&[], parameters)?,
        }
        Ok(match operation.operation() {
            SeedOperation::SeedOpGerminate => Order::Germinate {
                seed,
                wanted: context.wanted(BlueprintId::new(&operation.blueprint_id)?)?,
                parameters: parameters
                    .iter()
                    .filter(|(name, _)| *name != "lr_scale")
                    .map(|(name, value)| (name.clone(), *value))
                    .collect(),
                lr_scale: positive("lr_scale", parameters)?.unwrap_or(1.0),
            },
            SeedOperation::SeedOpStartTraining => Order::StartTraining { seed },
            SeedOperation::SeedOpStartGrafting => Order::StartGrafting {
                seed,
                blend: BlendConfig::from_annotations(&command.annotations, self.settings.blending.max_alpha_vec)?,
                schedule: AlphaSchedule::from_command(
                    parameters,
                    &command.annotations,
                    self.settings.blending.total_steps,
                )?,
            },
            SeedOperation::SeedOpStabilize => Order::Stabilize { seed },
            SeedOperation::SeedOpEvaluate => Order::Evaluate { seed },
            SeedOperation::SeedOpFineTune => Order::FineTune { seed, steps: whole("steps", parameters)? },
            SeedOperation::SeedOpFossilize => Order::Fossilize { seed },
            SeedOperation::SeedOpCull => Order::Cull { seed },
            SeedOperation::SeedOpCancel => Order::Cancel { seed },
            SeedOperation::SeedOpUnknown => return Err(malformed("seed_operation.operation", operation.operation)),
        })
    }

    fn carry_out(&mut self, order: Order) -> Result<(), Refusal> {
        match order {
            Order::Germinate { seed, wanted, parameters, lr_scale } => {
                self.germinate(&seed, &wanted, parameters, lr_scale)
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
                let event = event.map_err(|error| malformed("circuit_breaker.desired_state", error))?;
                self.reporter.breaker(breaker.name(), event);
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
        }
    }
}

impl Order {
    /// Whether it makes sense between the command to go back and the trainer's doing so: what it would change is about to go.
    const fn works_before_a_rollback(&self) -> bool {
        match self {
            Self::Rollback { .. } | Self::CircuitBreaker { .. } | Self::Emergency { .. } => true,
            Self::Germinate { .. }
            | Self::StartTraining { .. }
            | Self::StartGrafting { .. }
            | Self::Stabilize { .. }
            | Self::Evaluate { .. }
            | Self::FineTune { .. }
            | Self::Fossilize { .. }
            | Self::Cull { .. }
            | Self::Cancel { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Optimizer { .. }
            | Self::RollBackSeed { .. } => false,
        }
    }
}

impl BreakerName {
    fn parse(text: Option<&String>) -> Result<Self, Refusal> {
        match text.map_or("isolation", String::as_str) {
            "isolation" => Ok(Self::Isolation),
            "kernels" => Ok(Self::Kernels),
            other => Err(malformed("annotations[\"breaker\"]", format!("{other:?} is neither isolation nor kernels"))),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Isolation => "isolation",
            Self::Kernels => "kernels",
        }
    }
}

/// A seed alone where one is named, everything where an epoch alone is.
fn understand_rollback(seed: &str, epoch: Option<u64>) -> Result<Order, Refusal> {
    match (seed, epoch) {
        ("", Some(epoch)) => Ok(Order::Rollback { epoch }),
        ("", None) => Err(missing("rollback_payload.target_epoch")),
        (seed, epoch) => Ok(Order::RollBackSeed { seed: SeedId::new(seed)?, epoch }),
    }
}

/// The number `target_epoch` of a rollback's payload, which may have a `reason` beside it.
fn target_epoch(payload: &Struct) -> Result<Option<u64>, Refusal> {
    const FIELD: &str = "rollback_payload.target_epoch";
    if let Some(name) = payload.fields.keys().find(|name| !["target_epoch", "reason"].contains(&name.as_str())) {
        return Err(malformed("rollback_payload", format!("{name:?} means nothing here")));
    }
    match payload.fields.get("target_epoch").map(|value| &value.kind) {
        None => Ok(None),
        // Every whole number up to here is an f64.
        Some(Some(Kind::NumberValue(epoch))) if epoch.fract() == 0.0 && (0.0..=2_f64.powi(53)).contains(epoch) => {
            Ok(Some(*epoch as u64))
        }
        Some(_) => Err(malformed(FIELD, "must be a whole number from 0 to 2^53")),
    }
}

fn missing(field: &'static str) -> Refusal {
    Refusal::Malformed { field, cause: "is missing".to_owned() }
}

fn malformed(field: &'static str, cause: impl ToString) -> Refusal {
    Refusal::Malformed { field, cause: cause.to_string() }
}

fn flag(command: &AdaptationCommand, name: &'static str) -> Result<bool, Refusal> {
    match command.annotations.get(name).map(String::as_str) {
        None | Some("false" | "0" | "") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(malformed(name, format!("{other:?} is neither true nor false"))),
    }
}

fn positive(name: &'static str, parameters: &BTreeMap<String, f32>) -> Result<Option<f64>, Refusal> {
    match parameters.get(name).copied() {
        None => Ok(None),
        Some(value) if value.is_finite() && value > 0.0 => Ok(Some(value.into())),
        Some(value) => Err(malformed(name, format!("{value} must be finite and above 0"))),
    }
}

fn whole(name: &'static str, parameters: &BTreeMap<String, f32>) -> Result<u64, Refusal> {
    match parameters.get(name).copied() {
        None => Err(missing(name)),
        // Every whole number up to here is an f32.
        Some(value) if (1.0..=16_777_216.0).contains(&value) && value.fract() == 0.0 => Ok(value as u64),
        Some(value) => Err(malformed(name, format!("{value} must be a whole number from 1 to 2^24"))),
    }
}

/// What is not understood is refused, not passed over.
fn only(known: &[&str], parameters: &BTreeMap<String, f32>) -> Result<(), Refusal> {
    match parameters.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(malformed("parameters", format!("{name:?} means nothing here; known are {known:?}"))),
    }
}
