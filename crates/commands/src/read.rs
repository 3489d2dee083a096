//! Reading verified commands.

use std::{collections::BTreeMap, time::Duration};

use kasmina_blending::{AlphaSchedule, BlendConfig, Conflict};
use kasmina_leyline::{
    BlueprintId, CommandId, SeedId, TrainingRunId, UnixTime,
    v1::{AdaptationCommand, CommandSeedOperation, CommandType, SeedOperation, adaptation_command::Payload},
};
use kasmina_security::Verified;
use prost_types::{Struct, value::Kind};

use crate::{
    BreakerName, CommandContext, Degraded, Order, ReadError, Unreadable,
    table::{self, Field, Row},
};

/// What the receiver knows and a command does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadSettings {
    /// This run. A command that names another is refused.
    pub run: TrainingRunId,
    /// The most entries of `alpha_vec`; Esper's contract is
    /// [`BlendConfig::DEFAULT_MAX_ALPHA_VEC`].
    pub max_alpha_vec: usize,
    /// Batches over which alpha rises if a START_GRAFTING does not say.
    pub default_total_steps: u64,
    /// The coverage of inputs, in [0, 1], below which a command counts as degraded.
    pub degraded_below: f64,
}

/// A command, understood.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Command {
    pub id: CommandId,
    pub issued_at: UnixTime,
    /// The sender, as it calls itself. Free text.
    pub issued_by: String,
    pub order: Order,
    /// What the sender says of its decision.
    pub context: CommandContext,
    /// What is wrong with the command and does not matter enough to refuse it.
    pub notices: Vec<Notice>,
}

/// Something about a command that its sender should know, although it is obeyed. A warning in telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The context of the decision is poor, or cannot be read.
    Degraded(Degraded),
    /// The typed blend and the annotations differ; the typed one is used.
    BlendConflict(Conflict),
}

impl Notice {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Degraded(degraded) => degraded.reason,
            Self::BlendConflict(_) => "blend_conflict",
        }
    }
}

/// Reads a verified command. `now` is the wall clock of the moment, for its deadline.
///
/// # Errors
/// [`Unreadable`] if the command cannot be meant, is for another run, or is too late. A poor context is never an error, except
/// a `blueprint_tier` of a GERMINATE that names no tier.
pub fn read(verified: &Verified, settings: &ReadSettings, now: UnixTime) -> Result<Command, Unreadable> {
    let command = verified.command();
    let (context, degraded) = CommandContext::read(&command.annotations, settings.degraded_below);
    let mut notices: Vec<_> = degraded.into_iter().map(Notice::Degraded).collect();
    let order = of_run(command, &settings.run)
        .and_then(|()| on_time(verified, now))
        .and_then(|()| order(command, &context, settings.max_alpha_vec, settings.default_total_steps));
    match order {
        Ok((order, conflict)) => {
            notices.extend(conflict.map(Notice::BlendConflict));
            Ok(Command {
                id: verified.id().clone(),
                issued_at: verified.issued_at(),
                issued_by: command.issued_by.clone(),
                order,
                context,
                notices,
            })
        }
        Err(error) => Err(Unreadable { error, context: Box::new(context), notices }),
    }
}

fn of_run(command: &AdaptationCommand, run: &TrainingRunId) -> Result<(), ReadError> {
    match command.annotations.get(table::RUN.name) {
        Some(got) if got != run.as_str() => Err(ReadError::WrongRun { expected: run.to_string(), got: got.clone() }),
        Some(_) | None => Ok(()),
    }
}

fn on_time(verified: &Verified, now: UnixTime) -> Result<(), ReadError> {
    let deadline_ms = verified.command().execution_deadline_ms;
    let late = now.since(verified.issued_at().after(Duration::from_millis(deadline_ms.into())));
    if deadline_ms == 0 || late.is_zero() {
        return Ok(());
    }
    Err(ReadError::DeadlineExceeded { deadline_ms, late_ms: u64::try_from(late.as_millis()).unwrap_or(u64::MAX) })
}

type Understood = Result<(Order, Option<Conflict>), ReadError>;

pub(crate) fn order(
    command: &AdaptationCommand,
    context: &CommandContext,
    max_alpha_vec: usize,
    default_total_steps: u64,
) -> Understood {
    let seed = || SeedId::new(&command.target_seed_id).map_err(ReadError::from);
    let order = match (command.command_type(), &command.payload) {
        (CommandType::CommandSeed, Some(Payload::SeedOperation(operation))) => {
            return seed_operation(seed()?, operation, command, context, max_alpha_vec, default_total_steps);
        }
        (CommandType::CommandPause, None) => match flag(command, &table::RESUME)? {
            true => Order::Resume { seed: seed()? },
            false => Order::Pause { seed: seed()? },
        },
        (CommandType::CommandOptimizer, Some(Payload::OptimizerAdjustment(adjustment))) => {
            // A seed has one optimizer, which goes by the seed's name.
            if ![&String::new(), &command.target_seed_id].contains(&&adjustment.optimizer_id) {
                return Err(ReadError::malformed(table::OPTIMIZER_ID.name, "is neither empty nor the target seed"));
            }
            only(&table::OPTIMIZER, &adjustment.hyperparameters)?;
            let lr_scale = positive(&table::LR_SCALE, &adjustment.hyperparameters)?;
            Order::Optimizer {
                seed: seed()?,
                lr_scale: lr_scale.ok_or_else(|| ReadError::missing(table::LR_SCALE.name))?,
            }
        }
        (CommandType::CommandCircuitBreaker, Some(Payload::CircuitBreaker(breaker))) => Order::CircuitBreaker {
            breaker: breaker_name(command.annotations.get(table::BREAKER.name))?,
            state: breaker.desired_state(),
        },
        (CommandType::CommandEmergency, None) => {
            Order::Emergency { include_teacher: flag(command, &table::INCLUDE_TEACHER)? }
        }
        (CommandType::CommandRollback, Some(Payload::RollbackPayload(payload))) => {
            rollback(&command.target_seed_id, target_epoch(payload)?)?
        }
        (CommandType::CommandRollback, None) => rollback(&command.target_seed_id, None)?,
        // Its sender meant something else than what the command would do without it.
        (CommandType::CommandPause | CommandType::CommandEmergency | CommandType::CommandRollback, Some(payload)) => {
            return Err(ReadError::malformed("payload", format!("{} means nothing here", payload_name(payload))));
        }
        (CommandType::CommandSeed, _) => return Err(ReadError::missing("seed_operation")),
        (CommandType::CommandOptimizer, _) => return Err(ReadError::missing("optimizer_adjustment")),
        (CommandType::CommandCircuitBreaker, _) => return Err(ReadError::missing("circuit_breaker")),
        (CommandType::CommandStructuralPruning, _) => {
            return Err(ReadError::Unsupported(CommandType::CommandStructuralPruning.as_str_name()));
        }
        (CommandType::CommandUnknown, _) => {
            return Err(ReadError::malformed("command_type", command.command_type));
        }
    };
    Ok((order, None))
}

/// The field's name on the wire.
const fn payload_name(payload: &Payload) -> &'static str {
    match payload {
        Payload::SeedOperation(_) => "seed_operation",
        Payload::OptimizerAdjustment(_) => "optimizer_adjustment",
        Payload::CircuitBreaker(_) => "circuit_breaker",
        Payload::RollbackPayload(_) => "rollback_payload",
    }
}

fn seed_operation(
    seed: SeedId,
    operation: &CommandSeedOperation,
    command: &AdaptationCommand,
    context: &CommandContext,
    max_alpha_vec: usize,
    default_total_steps: u64,
) -> Understood {
    let parameters = &operation.parameters;
    let kind = operation.operation();
    match table::TABLE.iter().find(|row| row.operation == Some(kind)) {
        Some(row) => only(row, parameters)?,
        None => return Err(ReadError::malformed("seed_operation.operation", operation.operation)),
    }
    let order = match kind {
        SeedOperation::SeedOpGerminate => Order::Germinate {
            seed,
            blueprint: BlueprintId::new(&operation.blueprint_id)?,
            tier: context.tier()?,
            parameters: parameters
                .iter()
                .filter(|(name, _)| *name != table::LR_SCALE.name)
                .map(|(name, value)| (name.clone(), *value))
                .collect(),
            lr_scale: positive(&table::LR_SCALE, parameters)?.unwrap_or(1.0),
        },
        SeedOperation::SeedOpStartTraining => Order::StartTraining { seed },
        SeedOperation::SeedOpStartGrafting => {
            let (blend, conflict) = BlendConfig::read(operation.blend.as_ref(), &command.annotations, max_alpha_vec)?;
            let schedule = AlphaSchedule::from_command(parameters, &command.annotations, default_total_steps)?;
            return Ok((Order::StartGrafting { seed, blend, schedule }, conflict));
        }
        SeedOperation::SeedOpStabilize => Order::Stabilize { seed },
        SeedOperation::SeedOpEvaluate => Order::Evaluate { seed },
        SeedOperation::SeedOpFineTune => Order::FineTune { seed, steps: whole(&table::STEPS, parameters)? },
        SeedOperation::SeedOpFossilize => Order::Fossilize { seed },
        SeedOperation::SeedOpCull => Order::Cull { seed, blend_out_steps: blend_out_steps(command)? },
        SeedOperation::SeedOpCancel => Order::Cancel { seed },
        SeedOperation::SeedOpUnknown => {
            return Err(ReadError::malformed("seed_operation.operation", operation.operation));
        }
    };
    Ok((order, None))
}

fn breaker_name(text: Option<&String>) -> Result<BreakerName, ReadError> {
    let Some(text) = text else { return Ok(BreakerName::Isolation) };
    BreakerName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
        let known = BreakerName::ALL.map(BreakerName::as_str);
        ReadError::malformed("annotations[\"breaker\"]", format!("{text:?} is not one of {known:?}"))
    })
}

fn blend_out_steps(command: &AdaptationCommand) -> Result<u32, ReadError> {
    let Some(text) = command.annotations.get(table::BLEND_OUT_STEPS.name) else { return Ok(0) };
    match text.trim().parse() {
        Ok(steps) if u64::from(steps) <= AlphaSchedule::MAX_TOTAL_STEPS => Ok(steps),
        Ok(_) | Err(_) => Err(ReadError::malformed(
            "annotations[\"blend_out_steps\"]",
            format!("{text:?} is not a whole number from 0 to 2^24"),
        )),
    }
}

/// One seed if one is named, else everything, which needs an epoch.
fn rollback(seed: &str, epoch: Option<u64>) -> Result<Order, ReadError> {
    match (seed, epoch) {
        ("", Some(epoch)) => Ok(Order::Rollback { epoch }),
        ("", None) => Err(ReadError::missing("rollback_payload.target_epoch")),
        (seed, epoch) => Ok(Order::RollBackSeed { seed: SeedId::new(seed)?, epoch }),
    }
}

fn target_epoch(payload: &Struct) -> Result<Option<u64>, ReadError> {
    let known = |name: &String| table::ROLLBACK.fields.iter().any(|field| field.name == name);
    if let Some(name) = payload.fields.keys().find(|name| !known(name)) {
        return Err(ReadError::malformed("rollback_payload", format!("{name:?} means nothing here")));
    }
    match payload.fields.get(table::TARGET_EPOCH.name).map(|value| &value.kind) {
        None => Ok(None),
        // Every whole number up to here is an f64.
        Some(Some(Kind::NumberValue(epoch))) if epoch.fract() == 0.0 && (0.0..=2_f64.powi(53)).contains(epoch) => {
            Ok(Some(*epoch as u64))
        }
        Some(_) => Err(ReadError::malformed("rollback_payload.target_epoch", "must be a whole number from 0 to 2^53")),
    }
}

fn flag(command: &AdaptationCommand, field: &Field) -> Result<bool, ReadError> {
    match command.annotations.get(field.name).map(String::as_str) {
        None | Some("false" | "0" | "") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(ReadError::malformed(field.name, format!("{other:?} is neither true nor false"))),
    }
}

fn positive(field: &Field, parameters: &BTreeMap<String, f32>) -> Result<Option<f64>, ReadError> {
    match parameters.get(field.name).copied() {
        None => Ok(None),
        Some(value) if value.is_finite() && value > 0.0 => Ok(Some(value.into())),
        Some(value) => Err(ReadError::malformed(field.name, format!("{value} must be finite and above 0"))),
    }
}

fn whole(field: &Field, parameters: &BTreeMap<String, f32>) -> Result<u64, ReadError> {
    match parameters.get(field.name).copied() {
        None => Err(ReadError::missing(field.name)),
        // Every whole number up to here is an f32.
        Some(value) if (1.0..=16_777_216.0).contains(&value) && value.fract() == 0.0 => Ok(value as u64),
        Some(value) => Err(ReadError::malformed(field.name, format!("{value} must be a whole number from 1 to 2^24"))),
    }
}

/// A parameter that is not understood is refused, not passed over.
fn only(row: &Row, parameters: &BTreeMap<String, f32>) -> Result<(), ReadError> {
    let unknown = |name: &&String| !row.any_parameter && row.parameters().all(|known| known != *name);
    match parameters.keys().find(unknown) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<_> = row.parameters().collect();
            Err(ReadError::malformed("parameters", format!("{name:?} means nothing here; known are {known:?}")))
        }
    }
}
