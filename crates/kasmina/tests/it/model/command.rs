//! Commands as they are drawn: whom they name, what they ask for, how they are sent.

use std::collections::BTreeMap;

use kasmina::leyline::v1::{
    AdaptationCommand, CircuitBreakerState, CommandCircuitBreaker, CommandOptimizerAdjustment, CommandSeedOperation,
    CommandType, SeedOperation, adaptation_command::Payload,
};
use prost_types::{Struct, Value, value::Kind};

/// Whom a command names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    S1,
    S2,
    S3,
    Nobody,
    /// No identifier at all.
    Unnamed,
    /// Nobody in particular.
    All,
}

impl Who {
    pub const SEEDS: [Self; 3] = [Self::S1, Self::S2, Self::S3];

    pub const fn name(self) -> &'static str {
        ["seed-1", "seed-2", "seed-3", "nobody", "no id\n", ""][self as usize]
    }

    pub fn index(self) -> Option<usize> {
        Self::SEEDS.iter().position(|seed| *seed == self)
    }
}

/// A blueprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    Mlp,
    /// The one whose weight has the shape of the host's.
    Thin,
    Late,
    /// It fits nowhere.
    Cnn,
    Unknown,
    /// No identifier at all.
    Unnamed,
}

impl Kernel {
    pub const fn name(self) -> &'static str {
        ["mlp", "thin", "late", "cnn", "nothing", ""][self as usize]
    }
}

/// What GERMINATE says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    Plain,
    Slow,
    NanRate,
    UnknownParameter,
}

/// A number that a command carries, or does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Is(f32),
    Missing,
}

impl Number {
    fn named(self, name: &str) -> BTreeMap<String, f32> {
        match self {
            Self::Is(value) => BTreeMap::from([(name.to_owned(), value)]),
            Self::Missing => BTreeMap::new(),
        }
    }
}

/// How START_GRAFTING blends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blend {
    Unsaid,
    Convex,
    Residual,
    Channel,
    Confidence,
    /// Three entries for six channels.
    ChannelShort,
    ChannelWithout,
    ChannelOutside,
    LengthLies,
    Unheard,
    GateNoNumber,
    GateNegative,
}

impl Blend {
    fn annotations(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Unsaid => &[],
            Self::Convex => &[("blend_mode", "CONVEX")],
            Self::Residual => &[("blend_mode", "residual"), ("blend_mode_source", "model")],
            Self::Channel => &[("blend_mode", "CHANNEL"), ("alpha_vec", "[1, 0.5, 0, 0.25, 1, 1]")],
            Self::Confidence => &[("blend_mode", "CONFIDENCE"), ("gate_k", "2")],
            Self::ChannelShort => &[("blend_mode", "CHANNEL"), ("alpha_vec", "1, 0.5, 0")],
            Self::ChannelWithout => &[("blend_mode", "CHANNEL")],
            Self::ChannelOutside => &[("blend_mode", "CHANNEL"), ("alpha_vec", "[1.5]")],
            Self::LengthLies => &[("alpha_vec", "1, 0.5"), ("alpha_vec_len", "3")],
            Self::Unheard => &[("blend_mode", "ADD")],
            Self::GateNoNumber => &[("gate_k", "wide")],
            Self::GateNegative => &[("gate_tau", "-1")],
        }
    }
}

/// How alpha shall grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Linear,
    Cosine,
    Unsaid,
    Unheard,
}

/// A yes, a no, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    Absent,
    Yes,
    No,
    Odd,
}

impl Flag {
    fn annotation(self, name: &str) -> BTreeMap<String, String> {
        let value = ["", "true", "0", "perhaps"][self as usize];
        if self == Self::Absent { BTreeMap::new() } else { [(name.to_owned(), value.to_owned())].into() }
    }
}

/// Which breaker a command means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    Unsaid,
    Isolation,
    Kernels,
    Unheard,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    Germinate(Kernel, Extra),
    StartTraining,
    Graft(Blend, Schedule, Number),
    Stabilize,
    Evaluate,
    FineTune(Number),
    Fossilize,
    Cull,
    Cancel,
    NoOperation,
    NoPayload,
    Pause(Flag),
    Optimizer(Number),
    OptimizerWithoutPayload,
    Force(Breaker, CircuitBreakerState),
    Emergency(Flag),
    /// To the epoch that is named, or to none.
    Rollback(Option<u64>),
    Pruning,
    Untyped,
}

/// How a command reaches the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Honest,
    /// Issued so many seconds ago.
    Aged(i64),
    /// After its own deadline.
    Late,
    InTime,
    WrongRun,
    /// Signed with another secret.
    Forged,
    /// With this bit of the signed bytes flipped.
    Flipped(u16),
    /// Another command under the id of the last.
    ReusedId,
    WithoutId,
    WithoutTime,
}

impl How {
    /// The age of the command when it arrives, and its deadline after its issue.
    pub const fn timing(self) -> (i64, u32) {
        match self {
            Self::Aged(seconds) => (seconds, 0),
            Self::Late => (2, 1_000),
            Self::InTime => (1, 5_000),
            Self::Honest
            | Self::WrongRun
            | Self::Forged
            | Self::Flipped(_)
            | Self::ReusedId
            | Self::WithoutId
            | Self::WithoutTime => (0, 0),
        }
    }
}

impl What {
    /// The command, but for its id, time and signature.
    pub fn command(self, who: Who) -> AdaptationCommand {
        let kind = |command_type: CommandType| AdaptationCommand {
            version: 1,
            command_type: command_type.into(),
            target_seed_id: who.name().to_owned(),
            issued_by: "model".to_owned(),
            ..AdaptationCommand::default()
        };
        let operate = |operation: SeedOperation, blueprint: &str, parameters| AdaptationCommand {
            payload: Some(Payload::SeedOperation(CommandSeedOperation {
                operation: operation.into(),
                blueprint_id: blueprint.to_owned(),
                parameters,
                ..CommandSeedOperation::default()
            })),
            ..kind(CommandType::CommandSeed)
        };
        let plain = |operation| operate(operation, "", BTreeMap::new());
        match self {
            Self::Germinate(kernel, extra) => {
                let parameters = match extra {
                    Extra::Plain => BTreeMap::new(),
                    Extra::Slow => Number::Is(0.5).named("lr_scale"),
                    Extra::NanRate => Number::Is(f32::NAN).named("lr_scale"),
                    Extra::UnknownParameter => Number::Is(1.0).named("width"),
                };
                operate(SeedOperation::SeedOpGerminate, kernel.name(), parameters)
            }
            Self::StartTraining => plain(SeedOperation::SeedOpStartTraining),
            Self::Graft(blend, schedule, steps) => {
                let mut command = operate(SeedOperation::SeedOpStartGrafting, "", steps.named("alpha_total_steps"));
                let schedule: &[_] = match schedule {
                    Schedule::Linear => &[("alpha_schedule", "linear")],
                    Schedule::Cosine => &[("alpha_schedule", "Cosine")],
                    Schedule::Unsaid => &[],
                    Schedule::Unheard => &[("alpha_schedule", "cubic")],
                };
                let annotations = blend.annotations().iter().chain(schedule);
                command.annotations = annotations.map(|(name, value)| ((*name).into(), (*value).into())).collect();
                command
            }
            Self::Stabilize => plain(SeedOperation::SeedOpStabilize),
            Self::Evaluate => plain(SeedOperation::SeedOpEvaluate),
            Self::FineTune(steps) => operate(SeedOperation::SeedOpFineTune, "", steps.named("steps")),
            Self::Fossilize => plain(SeedOperation::SeedOpFossilize),
            Self::Cull => plain(SeedOperation::SeedOpCull),
            Self::Cancel => plain(SeedOperation::SeedOpCancel),
            Self::NoOperation => plain(SeedOperation::SeedOpUnknown),
            Self::NoPayload => kind(CommandType::CommandSeed),
            Self::Pause(resume) => {
                let annotations = resume.annotation("resume");
                AdaptationCommand { annotations, ..kind(CommandType::CommandPause) }
            }
            Self::Optimizer(scale) => {
                let hyperparameters = scale.named("lr_scale");
                let adjustment = CommandOptimizerAdjustment { hyperparameters, ..Default::default() };
                let payload = Some(Payload::OptimizerAdjustment(adjustment));
                AdaptationCommand { payload, ..kind(CommandType::CommandOptimizer) }
            }
            Self::OptimizerWithoutPayload => kind(CommandType::CommandOptimizer),
            Self::Force(breaker, state) => {
                let forced = CommandCircuitBreaker { desired_state: state.into(), ..Default::default() };
                let mut command = kind(CommandType::CommandCircuitBreaker);
                command.payload = Some(Payload::CircuitBreaker(forced));
                let name = ["", "isolation", "kernels", "fuse"][breaker as usize];
                if breaker != Breaker::Unsaid {
                    command.annotations.insert("breaker".to_owned(), name.to_owned());
                }
                command
            }
            Self::Emergency(teacher) => {
                let annotations = teacher.annotation("include_teacher");
                AdaptationCommand { annotations, ..kind(CommandType::CommandEmergency) }
            }
            Self::Rollback(epoch) => {
                let number = |epoch| Value { kind: Some(Kind::NumberValue(epoch as f64)) };
                let fields = |epoch| [("target_epoch".to_owned(), number(epoch))].into();
                let payload = epoch.map(|epoch| Payload::RollbackPayload(Struct { fields: fields(epoch) }));
                AdaptationCommand { payload, ..kind(CommandType::CommandRollback) }
            }
            Self::Pruning => kind(CommandType::CommandStructuralPruning),
            Self::Untyped => kind(CommandType::CommandUnknown),
        }
    }
}
