//! Writing and signing commands.

use std::collections::BTreeMap;

use kasmina_blending as blending;
use kasmina_leyline::{
    BlueprintId, CommandId, InvalidId, SeedId, UnixTime,
    v1::{
        AdaptationCommand, BlueprintTier, CommandCircuitBreaker, CommandOptimizerAdjustment, CommandSeedOperation,
        CommandType, SeedOperation, adaptation_command::Payload,
    },
    wire::Malformed,
};
use kasmina_security::{Secret, Signer};
use prost_types::{Struct, Value, value::Kind};

use crate::{CommandContext, Order, ReadError, read, table};

/// Writes and signs commands. The bytes go over the bus, or straight into `SeedManager::submit`.
///
/// Command ids are the sender's name, its time and a count, so no two of them are the same unless two senders of one name
/// have the same clock.
#[derive(Debug)]
pub struct CommandSender {
    signer: Signer,
    issued_by: String,
    deadline_ms: u32,
    sent: u64,
}

/// Why an order was not written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The order is only given locally.
    #[error("{0} is not a command of the wire")]
    Local(&'static str),
    /// Every receiver would refuse it.
    #[error("a receiver would refuse it: {0}")]
    Unreadable(#[from] ReadError),
    /// The wire cannot hold one of its values, such as a whole number above 2^24 in an `f32`, or an annotation contradicts it.
    #[error("a receiver would read another {0}: a value does not fit the wire, or an annotation contradicts it")]
    Inexact(&'static str),
    /// The command is too long or nested too deeply.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl CommandSender {
    /// A sender of this name that shares `secret` with the receiver.
    ///
    /// # Errors
    /// [`InvalidId`] for a name that its command ids could not begin with: one that is not an identifier, or is longer than
    /// 80 bytes.
    pub fn new(secret: &Secret, issued_by: impl Into<String>) -> Result<Self, InvalidId> {
        let issued_by = issued_by.into();
        // The longest id that this sender can ever write.
        CommandId::new(format!("{issued_by}-{}-{}", i64::MIN, u64::MAX))?;
        Ok(Self { signer: Signer::new(secret), issued_by, deadline_ms: 0, sent: 0 })
    }

    /// Gives its orders a deadline: a receiver refuses one that arrives more than `deadline_ms` milliseconds after it was signed.
    /// 0, the default, means that there is no deadline.
    #[must_use]
    pub const fn with_deadline_ms(mut self, deadline_ms: u32) -> Self {
        self.deadline_ms = deadline_ms;
        self
    }

    /// The signed command for `order`. Learning-rate scales travel as `f32`.
    ///
    /// # Errors
    /// [`SendError`], if no receiver would read it as this order.
    pub fn order(&mut self, order: &Order, now: UnixTime) -> Result<Vec<u8>, SendError> {
        self.order_with(order, [], now)
    }

    /// The same with annotations beside those of the order, for instance what [`CommandContext`] is read from, or
    /// `training_run_id`.
    ///
    /// # Errors
    /// [`SendError`], if no receiver would read it as this order, for instance because an annotation contradicts it.
    pub fn order_with<'a>(
        &mut self,
        order: &Order,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: UnixTime,
    ) -> Result<Vec<u8>, SendError> {
        let mut command = write(order)?;
        command.execution_deadline_ms = self.deadline_ms;
        command.annotations.extend(annotations.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let (context, _) = CommandContext::read(&command.annotations, 0.0);
        let (read, conflict) = read::order(&command, &context, usize::MAX, 1)?;
        if read != rounded(order) || conflict.is_some() {
            return Err(SendError::Inexact(order.name()));
        }
        Ok(self.send(command, now)?)
    }

    /// GERMINATE with the defaults: graft the blueprint's kernel.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn germinate(&mut self, seed: &SeedId, blueprint: &BlueprintId, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.germinate_with(seed, blueprint, [], [], now)
    }

    /// GERMINATE with parameters of the blueprint and with annotations. Neither is checked.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn germinate_with<const P: usize, const A: usize>(
        &mut self,
        seed: &SeedId,
        blueprint: &BlueprintId,
        parameters: [(&str, f32); P],
        annotations: [(&str, &str); A],
        now: UnixTime,
    ) -> Result<Vec<u8>, Malformed> {
        let operation = CommandSeedOperation {
            operation: SeedOperation::SeedOpGerminate.into(),
            blueprint_id: blueprint.to_string(),
            parameters: numbers(parameters),
            ..CommandSeedOperation::default()
        };
        self.send(AdaptationCommand { annotations: texts(annotations), ..seed_command(seed, operation) }, now)
    }

    /// A seed operation with parameters and annotations. Neither is checked.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn operate<const P: usize, const A: usize>(
        &mut self,
        seed: &SeedId,
        operation: SeedOperation,
        parameters: [(&str, f32); P],
        annotations: [(&str, &str); A],
        now: UnixTime,
    ) -> Result<Vec<u8>, Malformed> {
        let operation = CommandSeedOperation {
            operation: operation.into(),
            parameters: numbers(parameters),
            ..CommandSeedOperation::default()
        };
        self.send(AdaptationCommand { annotations: texts(annotations), ..seed_command(seed, operation) }, now)
    }

    /// PAUSE, or with `resume` its reversal.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn pause(&mut self, seed: &SeedId, resume: bool, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.send(pause(seed, resume), now)
    }

    /// ROLLBACK of everything to the checkpoint of `epoch`. It announces; the trainer rolls back in its next call.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn roll_back(&mut self, epoch: u64, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.send(rollback(String::new(), Some(epoch)), now)
    }

    /// ROLLBACK of one seed to the checkpoint of `epoch`, or to the newest one.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn roll_back_seed(&mut self, seed: &SeedId, epoch: Option<u64>, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.send(rollback(seed.to_string(), epoch), now)
    }

    /// Any command. Its version, id, sender and time are filled in, in place of what it has there. Nothing else is checked.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn send(&mut self, command: AdaptationCommand, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.sent += 1;
        self.signer.sign(&AdaptationCommand {
            version: 1,
            command_id: format!("{}-{}-{}", self.issued_by, now.as_nanos(), self.sent),
            issued_at: Some(now.into()),
            issued_by: self.issued_by.clone(),
            ..command
        })
    }
}

/// The command of an order, without id, sender and time.
fn write(order: &Order) -> Result<AdaptationCommand, SendError> {
    let plain = |seed: &SeedId, operation: SeedOperation| {
        seed_command(seed, CommandSeedOperation { operation: operation.into(), ..CommandSeedOperation::default() })
    };
    Ok(match order {
        Order::Germinate { seed, blueprint, tier, parameters, lr_scale } => {
            let mut parameters = parameters.clone();
            if *lr_scale != 1.0 && parameters.insert(table::LR_SCALE.name.to_owned(), *lr_scale as f32).is_some() {
                return Err(SendError::Inexact(order.name()));
            }
            let operation = CommandSeedOperation {
                operation: SeedOperation::SeedOpGerminate.into(),
                blueprint_id: blueprint.to_string(),
                parameters,
                ..CommandSeedOperation::default()
            };
            let tier = tier.iter().map(|tier| (table::TIER.name.to_owned(), tier_name(*tier)));
            AdaptationCommand { annotations: tier.collect(), ..seed_command(seed, operation) }
        }
        Order::StartTraining { seed } => plain(seed, SeedOperation::SeedOpStartTraining),
        Order::StartGrafting { seed, blend, schedule } => {
            let mut parameters = numbers([(table::TOTAL_STEPS.name, schedule.total_steps() as f32)]);
            if let blending::AlphaSchedule::Sigmoid { temperature, .. } = schedule {
                parameters.insert(table::TEMPERATURE.name.to_owned(), *temperature);
            }
            let operation = CommandSeedOperation {
                operation: SeedOperation::SeedOpStartGrafting.into(),
                parameters,
                blend: Some(blend.to_typed()),
                ..CommandSeedOperation::default()
            };
            // Beside the typed field, for receivers that do not know it.
            let mut annotations = blend.annotations();
            annotations.insert(table::SCHEDULE.name.to_owned(), schedule.as_str().to_owned());
            AdaptationCommand { annotations, ..seed_command(seed, operation) }
        }
        Order::Stabilize { seed } => plain(seed, SeedOperation::SeedOpStabilize),
        Order::Evaluate { seed } => plain(seed, SeedOperation::SeedOpEvaluate),
        Order::FineTune { seed, steps } => {
            let operation = CommandSeedOperation {
                operation: SeedOperation::SeedOpFineTune.into(),
                parameters: numbers([(table::STEPS.name, *steps as f32)]),
                ..CommandSeedOperation::default()
            };
            seed_command(seed, operation)
        }
        Order::Fossilize { seed } => plain(seed, SeedOperation::SeedOpFossilize),
        Order::Cull { seed, blend_out_steps } => {
            let mut command = plain(seed, SeedOperation::SeedOpCull);
            if *blend_out_steps > 0 {
                command.annotations.insert(table::BLEND_OUT_STEPS.name.to_owned(), blend_out_steps.to_string());
            }
            command
        }
        Order::Cancel { seed } => plain(seed, SeedOperation::SeedOpCancel),
        Order::Pause { seed } => pause(seed, false),
        Order::Resume { seed } => pause(seed, true),
        Order::Optimizer { seed, lr_scale } => AdaptationCommand {
            target_seed_id: seed.to_string(),
            payload: Some(Payload::OptimizerAdjustment(CommandOptimizerAdjustment {
                optimizer_id: seed.to_string(),
                hyperparameters: numbers([(table::LR_SCALE.name, *lr_scale as f32)]),
            })),
            ..empty(CommandType::CommandOptimizer)
        },
        Order::CircuitBreaker { breaker, state } => AdaptationCommand {
            payload: Some(Payload::CircuitBreaker(CommandCircuitBreaker {
                desired_state: (*state).into(),
                ..CommandCircuitBreaker::default()
            })),
            annotations: texts([(table::BREAKER.name, breaker.as_str())]),
            ..empty(CommandType::CommandCircuitBreaker)
        },
        Order::Emergency { include_teacher } => AdaptationCommand {
            annotations: texts([(table::INCLUDE_TEACHER.name, boolean(*include_teacher))]),
            ..empty(CommandType::CommandEmergency)
        },
        Order::Rollback { epoch } => rollback(String::new(), Some(*epoch)),
        Order::RollBackSeed { seed, epoch } => rollback(seed.to_string(), *epoch),
        Order::Terminate { .. } => return Err(SendError::Local(order.name())),
    })
}

/// The order as it comes back from numbers of the wire's width.
fn rounded(order: &Order) -> Order {
    let mut order = order.clone();
    if let Order::Germinate { lr_scale, .. } | Order::Optimizer { lr_scale, .. } = &mut order {
        *lr_scale = f64::from(*lr_scale as f32);
    }
    order
}

fn empty(command: CommandType) -> AdaptationCommand {
    AdaptationCommand { command_type: command.into(), ..AdaptationCommand::default() }
}

fn seed_command(seed: &SeedId, operation: CommandSeedOperation) -> AdaptationCommand {
    AdaptationCommand {
        target_seed_id: seed.to_string(),
        payload: Some(Payload::SeedOperation(operation)),
        ..empty(CommandType::CommandSeed)
    }
}

fn pause(seed: &SeedId, resume: bool) -> AdaptationCommand {
    AdaptationCommand {
        target_seed_id: seed.to_string(),
        annotations: texts([(table::RESUME.name, boolean(resume))]),
        ..empty(CommandType::CommandPause)
    }
}

fn rollback(target_seed_id: String, epoch: Option<u64>) -> AdaptationCommand {
    let number = |epoch: u64| Value { kind: Some(Kind::NumberValue(epoch as f64)) };
    let fields = epoch.map(|epoch| (table::TARGET_EPOCH.name.to_owned(), number(epoch))).into_iter().collect();
    AdaptationCommand {
        target_seed_id,
        payload: Some(Payload::RollbackPayload(Struct { fields })),
        ..empty(CommandType::CommandRollback)
    }
}

fn tier_name(tier: BlueprintTier) -> String {
    tier.as_str_name().trim_start_matches("BLUEPRINT_TIER_").to_owned()
}

const fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn numbers<const N: usize>(pairs: [(&str, f32); N]) -> BTreeMap<String, f32> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}
