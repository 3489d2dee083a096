//! The arguments of every order.

use std::{error::Error, str::FromStr};

use clap::{
    Args, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_commands::{BreakerName, Order};
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{BlueprintTier, CircuitBreakerState},
};

use crate::failure::Failure;

/// What is asked for.
#[derive(Subcommand)]
pub(crate) enum OrderArgs {
    /// Graft a blueprint's kernel at the slot of a DORMANT seed, which then goes on to TRAINING
    Germinate(Germinate),
    /// Move a GERMINATED seed to TRAINING, if it did not go there by itself
    StartTraining(Target),
    /// Move a TRAINING seed to BLENDING
    StartGrafting(Box<StartGrafting>),
    /// Move a BLENDING seed to SHADOWING
    Stabilize(Target),
    /// Move a SHADOWING seed to PROBATIONARY
    Evaluate(Target),
    /// Let a PROBATIONARY seed learn for some more batches
    FineTune {
        #[command(flatten)]
        target: Target,
        /// Number of batches, 1 to 2^24
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
        steps: u32,
    },
    /// Make a PROBATIONARY seed part of the network, for good
    Fossilize(Target),
    /// Take a seed out, at any stage before FOSSILIZED
    Cull {
        #[command(flatten)]
        target: Target,
        /// Number of batches in which a BLENDING or PROBATIONARY seed is blended out first, up to 2^24; 0 is at once
        #[arg(long, value_name = "STEPS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1 << 24))]
        blend_out_steps: u32,
    },
    /// Take a seed out, before BLENDING only
    Cancel(Target),
    /// Let the seed's slot pass activations on unchanged, until it is resumed
    Pause(Target),
    /// End a pause
    Resume(Target),
    /// Set the scale of a seed's learning rate
    Optimizer {
        #[command(flatten)]
        target: Target,
        /// The seed's learning rate over the host's, above 0
        #[arg(long, value_name = "FACTOR", value_parser = positive)]
        lr_scale: f32,
    },
    /// Force a circuit breaker into a state
    CircuitBreaker {
        /// The breaker
        #[arg(value_parser = breaker())]
        breaker: BreakerName,
        /// The state
        state: State,
    },
    /// Empty the caches
    Emergency {
        /// Drop the teacher too
        #[arg(long)]
        include_teacher: bool,
    },
    /// Take the whole run back to the checkpoint of an epoch
    Rollback {
        /// The epoch; `kasmina store audit` lists those of a store
        #[arg(value_parser = clap::value_parser!(u64).range(..=EXACT))]
        epoch: u64,
    },
    /// Take one seed back to a checkpoint
    RollBackSeed {
        #[command(flatten)]
        target: Target,
        /// The epoch; without it, that of the newest checkpoint
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
    #[arg(long, value_name = "MODE", default_value = "convex")]
    mode: Mode,
    /// With channel: one factor in [0, 1] for each channel
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    alpha_vec: Vec<f32>,
    #[arg(long, value_name = "NUMBER", help = format!("With confidence: the slope of the gate, {} by default", BlendConfig::DEFAULT_GATE_K))]
    gate_k: Option<f32>,
    #[arg(long, value_name = "NUMBER", help = format!("With confidence: the threshold of the gate, {} by default", BlendConfig::DEFAULT_GATE_TAU))]
    gate_tau: Option<f32>,
    /// With confidence: the least alpha, 0 by default
    #[arg(long, value_name = "NUMBER")]
    alpha_lo: Option<f32>,
    /// With confidence: the largest alpha, 1 by default
    #[arg(long, value_name = "NUMBER")]
    alpha_hi: Option<f32>,
    /// How alpha rises
    #[arg(long, default_value = "sigmoid")]
    schedule: Schedule,
    /// Number of batches in which alpha rises from 0 to 1, 1 to 2^24
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    steps: u32,
    /// With the sigmoid schedule: higher is flatter; above 0, 1 by default
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    temperature: Option<f32>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Tier {
    Safe,
    Experimental,
    HighRisk,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Convex,
    Residual,
    Channel,
    Confidence,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schedule {
    Sigmoid,
    Linear,
    Cosine,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Closed,
    Open,
    HalfOpen,
}

impl OrderArgs {
    pub(crate) fn order(&self) -> Result<Order, Failure> {
        Ok(match self {
            Self::Germinate(germinate) => germinate.order(),
            Self::StartGrafting(graft) => return graft.order(),
            Self::StartTraining(Target { seed }) => Order::StartTraining { seed: seed.clone() },
            Self::Stabilize(Target { seed }) => Order::Stabilize { seed: seed.clone() },
            Self::Evaluate(Target { seed }) => Order::Evaluate { seed: seed.clone() },
            Self::Fossilize(Target { seed }) => Order::Fossilize { seed: seed.clone() },
            Self::Cull { target, blend_out_steps } => {
                Order::Cull { seed: target.seed.clone(), blend_out_steps: *blend_out_steps }
            }
            Self::Cancel(Target { seed }) => Order::Cancel { seed: seed.clone() },
            Self::FineTune { target, steps } => Order::FineTune { seed: target.seed.clone(), steps: u64::from(*steps) },
            Self::Pause(Target { seed }) => Order::Pause { seed: seed.clone() },
            Self::Resume(Target { seed }) => Order::Resume { seed: seed.clone() },
            Self::Optimizer { target, lr_scale } => {
                Order::Optimizer { seed: target.seed.clone(), lr_scale: f64::from(*lr_scale) }
            }
            Self::CircuitBreaker { breaker, state } => Order::CircuitBreaker { breaker: *breaker, state: state.wire() },
            Self::Emergency { include_teacher } => Order::Emergency { include_teacher: *include_teacher },
            Self::Rollback { epoch } => Order::Rollback { epoch: *epoch },
            Self::RollBackSeed { target, epoch } => Order::RollBackSeed { seed: target.seed.clone(), epoch: *epoch },
        })
    }
}

impl Germinate {
    fn order(&self) -> Order {
        Order::Germinate {
            seed: self.target.seed.clone(),
            blueprint: self.blueprint.clone(),
            tier: self.tier.map(Tier::wire),
            parameters: self.parameters.iter().cloned().collect(),
            lr_scale: self.lr_scale.map_or(1.0, f64::from),
        }
    }
}

impl StartGrafting {
    fn order(&self) -> Result<Order, Failure> {
        self.check()?;
        let total_steps = u64::from(self.steps);
        let temperature = self.temperature.unwrap_or(AlphaSchedule::DEFAULT_TEMPERATURE);
        let schedule = match self.schedule {
            Schedule::Sigmoid => AlphaSchedule::Sigmoid { total_steps, temperature },
            Schedule::Linear => AlphaSchedule::Linear { total_steps },
            Schedule::Cosine => AlphaSchedule::Cosine { total_steps },
        };
        let blend = match self.mode {
            Mode::Convex => BlendConfig::convex(),
            Mode::Residual => BlendConfig::residual(),
            Mode::Channel => BlendConfig::channel(self.alpha_vec.clone())?,
            Mode::Confidence => BlendConfig::confidence(
                self.gate_k.unwrap_or(BlendConfig::DEFAULT_GATE_K),
                self.gate_tau.unwrap_or(BlendConfig::DEFAULT_GATE_TAU),
                self.alpha_lo.unwrap_or(0.0),
                self.alpha_hi.unwrap_or(1.0),
            )?,
        };
        Ok(Order::StartGrafting { seed: self.target.seed.clone(), blend, schedule })
    }

    /// A number that its mode or schedule would ignore is a mistake.
    fn check(&self) -> Result<(), Failure> {
        let (channel, confidence) = (self.mode == Mode::Channel, self.mode == Mode::Confidence);
        let given = [
            ("--alpha-vec", !self.alpha_vec.is_empty(), channel, "mode channel"),
            ("--gate-k", self.gate_k.is_some(), confidence, "mode confidence"),
            ("--gate-tau", self.gate_tau.is_some(), confidence, "mode confidence"),
            ("--alpha-lo", self.alpha_lo.is_some(), confidence, "mode confidence"),
            ("--alpha-hi", self.alpha_hi.is_some(), confidence, "mode confidence"),
            ("--temperature", self.temperature.is_some(), self.schedule == Schedule::Sigmoid, "schedule sigmoid"),
        ];
        match given.into_iter().find(|(_, is_given, is_used, _)| *is_given && !is_used) {
            Some((flag, _, _, goes_with)) => Err(Failure::Mismatch { flag, goes_with }),
            None => Ok(()),
        }
    }
}

impl Tier {
    const fn wire(self) -> BlueprintTier {
        match self {
            Self::Safe => BlueprintTier::Safe,
            Self::Experimental => BlueprintTier::Experimental,
            Self::HighRisk => BlueprintTier::HighRisk,
        }
    }
}

impl State {
    const fn wire(self) -> CircuitBreakerState {
        match self {
            Self::Closed => CircuitBreakerState::CircuitStateClosed,
            Self::Open => CircuitBreakerState::CircuitStateOpen,
            Self::HalfOpen => CircuitBreakerState::CircuitStateHalfOpen,
        }
    }
}

/// A breaker by its name, from the names that commands have.
fn breaker() -> impl TypedValueParser<Value = BreakerName> {
    PossibleValuesParser::new(BreakerName::ALL.map(BreakerName::as_str)).try_map(|text| {
        BreakerName::ALL.into_iter().find(|name| name.as_str() == text).ok_or("there is no such breaker")
    })
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
