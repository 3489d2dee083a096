//! Every order, as arguments and as a command.

use std::{collections::BTreeMap, error::Error, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{
        AdaptationCommand, CircuitBreakerState, CommandCircuitBreaker, CommandOptimizerAdjustment,
        CommandSeedOperation, CommandType, SeedOperation, adaptation_command::Payload,
    },
};
use prost_types::{Struct, Value, value::Kind};

/// What is asked for.
#[derive(Subcommand)]
pub(crate) enum Order {
    /// Graft a blueprint's kernel at the seed's slot: DORMANT to GERMINATED, and on to TRAINING
    Germinate(Germinate),
    /// Train a GERMINATED seed
    StartTraining(Target),
    /// Blend a TRAINING seed in
    StartGrafting(Box<StartGrafting>),
    /// Move a BLENDING seed to SHADOWING
    Stabilize(Target),
    /// Move a SHADOWING seed to PROBATIONARY
    Evaluate(Target),
    /// Let a PROBATIONARY seed learn for more batches
    FineTune {
        #[command(flatten)]
        target: Target,
        /// How many batches, 1 to 2^24
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
        steps: u32,
    },
    /// Make a PROBATIONARY seed part of the host
    Fossilize(Target),
    /// Take a seed out
    Cull(Target),
    /// Take a seed out that is not BLENDING yet
    Cancel(Target),
    /// Make the seed's slot the identity
    Pause(Target),
    /// Reverse a pause
    Resume(Target),
    /// Scale the seed's learning rate
    Optimizer {
        #[command(flatten)]
        target: Target,
        /// The seed's learning rate over the host's, above 0
        #[arg(long, value_name = "FACTOR", value_parser = positive)]
        lr_scale: f32,
    },
    /// Force a breaker into a state
    CircuitBreaker { breaker: Breaker, state: State },
    /// Empty the caches
    Emergency {
        /// Drop the teacher too
        #[arg(long)]
        include_teacher: bool,
    },
    /// Go back to the checkpoint of an epoch, with everything
    Rollback {
        #[arg(value_parser = clap::value_parser!(u64).range(..=EXACT))]
        epoch: u64,
    },
    /// Take one seed back to a checkpoint
    RollBackSeed {
        #[command(flatten)]
        target: Target,
        /// The epoch of the checkpoint; the newest one without it
        #[arg(long, value_parser = clap::value_parser!(u64).range(..=EXACT))]
        epoch: Option<u64>,
    },
}

/// The contract has epochs as doubles: up to this one each has a double of its own.
const EXACT: u64 = 1 << 53;

#[derive(Args)]
pub(crate) struct Target {
    /// The seed
    #[arg(value_name = "SEED", value_parser = |text: &str| SeedId::new(text))]
    seed: SeedId,
}

#[derive(Args)]
pub(crate) struct Germinate {
    #[command(flatten)]
    target: Target,
    /// The blueprint of the kernel
    #[arg(value_name = "BLUEPRINT", value_parser = |text: &str| BlueprintId::new(text))]
    blueprint: BlueprintId,
    /// Refuse the kernel if the catalogue gives it another tier
    #[arg(long)]
    tier: Option<Tier>,
    /// A parameter of the blueprint; can be repeated
    #[arg(long = "parameter", value_name = "NAME=NUMBER", value_parser = pair::<f32>)]
    parameters: Vec<(String, f32)>,
    /// The seed's learning rate over the host's, above 0
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    lr_scale: Option<f32>,
}

#[derive(Args)]
pub(crate) struct StartGrafting {
    #[command(flatten)]
    target: Target,
    /// How seed and host are joined
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// With channel: one factor in [0, 1] for each channel
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    alpha_vec: Vec<f32>,
    /// With confidence: the slope of the gate
    #[arg(long, value_name = "NUMBER")]
    gate_k: Option<f32>,
    /// With confidence: the threshold of the gate
    #[arg(long, value_name = "NUMBER")]
    gate_tau: Option<f32>,
    /// With confidence: the least alpha
    #[arg(long, value_name = "NUMBER")]
    alpha_lo: Option<f32>,
    /// With confidence: the largest alpha
    #[arg(long, value_name = "NUMBER")]
    alpha_hi: Option<f32>,
    /// How alpha grows
    #[arg(long)]
    schedule: Option<Schedule>,
    /// How many batches alpha takes from 0 to 1, 1 to 2^24
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    steps: Option<u32>,
    /// With the sigmoid schedule: higher is flatter, above 0
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    temperature: Option<f32>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Tier {
    Safe,
    Experimental,
    HighRisk,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Mode {
    Convex,
    Residual,
    Channel,
    Confidence,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Schedule {
    Sigmoid,
    Linear,
    Cosine,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Breaker {
    /// Opened by violations of gradient isolation
    Isolation,
    /// Opened by kernels that cannot be loaded
    Kernels,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Closed,
    Open,
    HalfOpen,
}

impl Order {
    /// The command, without what a sender adds: version, id, time and name.
    pub(crate) fn command(&self) -> AdaptationCommand {
        use SeedOperation::*;
        match self {
            Self::Germinate(order) => order.command(),
            Self::StartGrafting(order) => order.command(),
            Self::StartTraining(target) => target.operation(SeedOpStartTraining, [].into()),
            Self::Stabilize(target) => target.operation(SeedOpStabilize, [].into()),
            Self::Evaluate(target) => target.operation(SeedOpEvaluate, [].into()),
            Self::Fossilize(target) => target.operation(SeedOpFossilize, [].into()),
            Self::Cull(target) => target.operation(SeedOpCull, [].into()),
            Self::Cancel(target) => target.operation(SeedOpCancel, [].into()),
            Self::FineTune { target, steps } => {
                target.operation(SeedOpFineTune, [("steps".to_owned(), *steps as f32)].into())
            }
            Self::Pause(target) => annotated(target.command(CommandType::CommandPause), "resume", "false"),
            Self::Resume(target) => annotated(target.command(CommandType::CommandPause), "resume", "true"),
            Self::Optimizer { target, lr_scale } => {
                let hyperparameters = [("lr_scale".to_owned(), *lr_scale)].into();
                let adjustment = CommandOptimizerAdjustment { hyperparameters, ..Default::default() };
                let payload = Some(Payload::OptimizerAdjustment(adjustment));
                AdaptationCommand { payload, ..target.command(CommandType::CommandOptimizer) }
            }
            Self::CircuitBreaker { breaker, state } => {
                let desired_state = state.wire().into();
                let payload = CommandCircuitBreaker { desired_state, ..Default::default() };
                let payload = Some(Payload::CircuitBreaker(payload));
                let command = AdaptationCommand { payload, ..global(CommandType::CommandCircuitBreaker) };
                annotated(command, "breaker", name(breaker))
            }
            Self::Emergency { include_teacher } => {
                let flag = if *include_teacher { "true" } else { "false" };
                annotated(global(CommandType::CommandEmergency), "include_teacher", flag)
            }
            Self::Rollback { epoch } => {
                AdaptationCommand { payload: target_epoch(Some(*epoch)), ..global(CommandType::CommandRollback) }
            }
            Self::RollBackSeed { target, epoch } => {
                AdaptationCommand { payload: target_epoch(*epoch), ..target.command(CommandType::CommandRollback) }
            }
        }
    }
}

impl Target {
    fn command(&self, command_type: CommandType) -> AdaptationCommand {
        AdaptationCommand { target_seed_id: self.seed.to_string(), ..global(command_type) }
    }

    fn operation(&self, operation: SeedOperation, parameters: BTreeMap<String, f32>) -> AdaptationCommand {
        let operation = CommandSeedOperation { operation: operation.into(), parameters, ..Default::default() };
        let payload = Some(Payload::SeedOperation(operation));
        AdaptationCommand { payload, ..self.command(CommandType::CommandSeed) }
    }
}

impl Germinate {
    fn command(&self) -> AdaptationCommand {
        let lr_scale = self.lr_scale.map(|scale| ("lr_scale".to_owned(), scale));
        let operation = CommandSeedOperation {
            operation: SeedOperation::SeedOpGerminate.into(),
            blueprint_id: self.blueprint.to_string(),
            parameters: self.parameters.iter().cloned().chain(lr_scale).collect(),
        };
        let payload = Some(Payload::SeedOperation(operation));
        let command = AdaptationCommand { payload, ..self.target.command(CommandType::CommandSeed) };
        match &self.tier {
            Some(tier) => annotated(command, "blueprint_tier", name(tier).replace('-', "_")),
            None => command,
        }
    }
}

impl StartGrafting {
    fn command(&self) -> AdaptationCommand {
        let parameters =
            [("alpha_total_steps", self.steps.map(|steps| steps as f32)), ("alpha_temperature", self.temperature)];
        let parameters = parameters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut command = self.target.operation(SeedOperation::SeedOpStartGrafting, parameters.collect());
        let factors: Vec<_> = self.alpha_vec.iter().map(f32::to_string).collect();
        let number = |number: Option<f32>| number.map(|number| number.to_string());
        let annotations = [
            ("blend_mode", self.mode.map(|mode| name(&mode).to_uppercase())),
            ("alpha_vec", (!factors.is_empty()).then(|| factors.join(","))),
            ("gate_k", number(self.gate_k)),
            ("gate_tau", number(self.gate_tau)),
            ("alpha_lo", number(self.alpha_lo)),
            ("alpha_hi", number(self.alpha_hi)),
            ("alpha_schedule", self.schedule.map(|schedule| name(&schedule))),
        ];
        command.annotations =
            annotations.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        command
    }
}

impl State {
    fn wire(self) -> CircuitBreakerState {
        match self {
            Self::Closed => CircuitBreakerState::CircuitStateClosed,
            Self::Open => CircuitBreakerState::CircuitStateOpen,
            Self::HalfOpen => CircuitBreakerState::CircuitStateHalfOpen,
        }
    }
}

/// `NAME=VALUE`.
pub(crate) fn pair<T: FromStr<Err: Error>>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.parse().map_err(|error| format!("{value:?}: {error}"))?))
}

fn positive(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("give a finite number above 0".to_owned()) }
}

fn global(command_type: CommandType) -> AdaptationCommand {
    AdaptationCommand { command_type: command_type.into(), ..Default::default() }
}

fn annotated(mut command: AdaptationCommand, name: &str, value: impl Into<String>) -> AdaptationCommand {
    command.annotations.insert(name.to_owned(), value.into());
    command
}

fn target_epoch(epoch: Option<u64>) -> Option<Payload> {
    let number = |epoch: u64| Value { kind: Some(Kind::NumberValue(epoch as f64)) };
    let fields = epoch.map(|epoch| ("target_epoch".to_owned(), number(epoch))).into_iter().collect();
    Some(Payload::RollbackPayload(Struct { fields }))
}

/// The name of a value on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
