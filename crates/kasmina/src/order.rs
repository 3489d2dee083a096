//! Commands: what each one asks for and what carrying it out means. A new command is one variant and one arm here.

use std::{collections::BTreeMap, time::Duration};

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_leyline::{
    BlueprintId, CommandId, SeedId, UnixTime,
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
use kasmina_lifecycle::Transition;
use kasmina_security::{Rejection, Verified};

use crate::{CommandError, GraftBackend, Refusal, SeedManager};

/// What a command that was carried out has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The command.
    pub command: CommandId,
    /// The stages that were left and entered at once; a command may also take effect in later steps.
    pub transitions: Vec<Transition>,
}

/// The parameters of a seed operation that are about learning and blending, not about the blueprint.
const OWN_PARAMETERS: [&str; 4] = ["alpha_total_steps", "alpha_temperature", "lr_scale", "steps"];

/// A command, understood.
#[derive(Clone, Debug, PartialEq)]
enum Order {
    Germinate { seed: SeedId, blueprint: BlueprintId, parameters: BTreeMap<String, f32>, lr_scale: f64 },
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
}

/// Which breaker a command means: annotation `breaker`, `isolation` where it is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerName {
    Isolation,
    Kernels,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Takes one serialised `AdaptationCommand`, verifies it and carries it out.
    ///
    /// # Errors
    /// [`CommandError::Rejected`] where it is not authentic, fresh and new; [`CommandError::Refused`] where it cannot be
    /// carried out. Both are reported, and neither disturbs the host. A gate that says no culls its seed.
    pub fn submit(&mut self, wire: &[u8]) -> Result<Receipt, CommandError> {
        self.tick();
        let now = self.clock.monotonic();
        match self.verifier.verify(wire, self.clock.unix(), now) {
            Ok(command) => self.execute(&command),
            Err(rejection) => {
                self.reporter.rejected(&rejection);
                Err(CommandError::Rejected(rejection))
            }
        }
    }

    /// Carries out a verified command.
    ///
    /// # Errors
    /// [`CommandError::Refused`].
    pub fn execute(&mut self, command: &Verified<AdaptationCommand>) -> Result<Receipt, CommandError> {
        // A verified command has an id: it was the nonce.
        let id = CommandId::new(&command.command_id)
            .map_err(|error| CommandError::Rejected(Rejection::MissingCommandId(error)))?;
        let done = self.check(command).and_then(|()| self.understand(command)).and_then(|order| self.carry_out(order));
        match done {
            Ok(transitions) => {
                self.reporter.accepted(command);
                Ok(Receipt { command: id, transitions })
            }
            Err(refusal) => {
                self.reporter.refused(command, &refusal);
                Err(CommandError::Refused { command: id, refusal: Box::new(refusal) })
            }
        }
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

    fn understand(&self, command: &AdaptationCommand) -> Result<Order, Refusal> {
        let seed = || SeedId::new(&command.target_seed_id).map_err(Refusal::from);
        match (command.command_type(), &command.payload) {
            (CommandType::CommandSeed, Some(Payload::SeedOperation(operation))) => {
                self.understand_seed_operation(seed()?, operation, command)
            }
            (CommandType::CommandSeed, _) => Err(missing("seed_operation")),
            (CommandType::CommandPause, _) => Ok(match flag(command, "resume")? {
                true => Order::Resume { seed: seed()? },
                false => Order::Pause { seed: seed()? },
            }),
            (CommandType::CommandOptimizer, Some(Payload::OptimizerAdjustment(adjustment))) => Ok(Order::Optimizer {
                seed: seed()?,
                lr_scale: positive("lr_scale", &adjustment.hyperparameters)?.ok_or_else(|| missing("lr_scale"))?,
            }),
            (CommandType::CommandOptimizer, _) => Err(missing("optimizer_adjustment")),
            (CommandType::CommandCircuitBreaker, Some(Payload::CircuitBreaker(breaker))) => Ok(Order::CircuitBreaker {
                breaker: BreakerName::parse(command.annotations.get("breaker"))?,
                state: breaker.desired_state(),
            }),
            (CommandType::CommandCircuitBreaker, _) => Err(missing("circuit_breaker")),
            (CommandType::CommandEmergency, _) => {
                Ok(Order::Emergency { include_teacher: flag(command, "include_teacher")? })
            }
            (CommandType::CommandRollback, _) => Err(Refusal::Unsupported("COMMAND_ROLLBACK")),
            (CommandType::CommandStructuralPruning, _) => Err(Refusal::Unsupported("COMMAND_STRUCTURAL_PRUNING")),
            (CommandType::CommandUnknown, _) => Err(malformed("command_type", command.command_type)),
        }
    }

    fn understand_seed_operation(
        &self,
        seed: SeedId,
        operation: &CommandSeedOperation,
        command: &AdaptationCommand,
    ) -> Result<Order, Refusal> {
        let parameters = &operation.parameters;
        Ok(match operation.operation() {
            SeedOperation::SeedOpGerminate => Order::Germinate {
                seed,
                blueprint: BlueprintId::new(&operation.blueprint_id)?,
                parameters: parameters
                    .iter()
                    .filter(|(name, _)| !OWN_PARAMETERS.contains(&name.as_str()))
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
            SeedOperation::SeedOpFineTune => Order::FineTune {
                seed,
                steps: positive("steps", parameters)?.ok_or_else(|| missing("parameters[\"steps\"]"))? as u64,
            },
            SeedOperation::SeedOpFossilize => Order::Fossilize { seed },
            SeedOperation::SeedOpCull => Order::Cull { seed },
            SeedOperation::SeedOpCancel => Order::Cancel { seed },
            SeedOperation::SeedOpUnknown => return Err(malformed("seed_operation.operation", operation.operation)),
        })
    }

    fn carry_out(&mut self, order: Order) -> Result<Vec<Transition>, Refusal> {
        match order {
            Order::Germinate { seed, blueprint, parameters, lr_scale } => {
                self.germinate(&seed, &blueprint, parameters, lr_scale)
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
                Ok(Vec::new())
            }
            Order::CircuitBreaker { breaker, state } => {
                let now = self.clock.monotonic();
                let event = match breaker {
                    BreakerName::Isolation => self.breakers.isolation.force(state, now),
                    BreakerName::Kernels => self.breakers.kernels.force(state, now),
                };
                let event = event.map_err(|error| malformed("circuit_breaker.desired_state", error))?;
                self.reporter.breaker(breaker.name(), event);
                Ok(Vec::new())
            }
            Order::Emergency { include_teacher } => {
                let evicted = self.kernels.purge();
                self.reporter.collected(&evicted);
                if include_teacher {
                    self.registry.drop_teacher();
                }
                Ok(Vec::new())
            }
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
