//! What can happen, and how often it does.

use std::fmt;

use kasmina::leyline::v1::CircuitBreakerState::{
    CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::command::{Blend, Breaker, Extra, Flag, How, Kernel, Number, Schedule, What, Who};

/// What the gates demand in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// Nothing that is a matter of degree.
    Lenient,
    /// The defaults.
    Strict,
    /// Lenient, but no gradient is small enough for G1.
    Deaf,
}

/// A validation that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    None,
    Same,
    Worse,
    Nan,
}

/// What a kernel shares with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    ById,
    ByTensor,
}

/// What a rollback goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Unsaid,
    /// One of the epochs that there are.
    Kept(u8),
    Unknown,
}

/// When the trainer goes back, once it has been commanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    AtOnce,
    /// At the second attempt: at the first the disk is full.
    AtLast,
    Later,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Send(Who, What, How),
    /// The command that the seed's stage asks for.
    Next(Who),
    /// The bytes sent so many commands before the last, again.
    Replay(usize),
    Garbage(Vec<u8>),
    /// So many batches, with logits or without.
    Train(u8, bool),
    NanBatch,
    /// Seconds that pass.
    Wait(u64),
    /// Seconds by which the wall clock jumps.
    Jump(i64),
    /// The kernel is made to share the host's weight, if it has one of that shape.
    Tamper(Who, Share),
    /// The kernel's weights become NaN.
    Spoil(Who),
    Fail(Kernel),
    Heal(Kernel),
    Validate(Valid),
    Epoch,
    /// The process dies, and another comes back from the store.
    Crash,
    /// The next append or save fails.
    FailStore,
    /// An epoch ends, and a checkpoint is taken.
    Checkpoint,
    /// The command to go back, and when the trainer does it.
    Rollback(Who, Aim, Then),
    GoBack,
}

/// A world and what happens in it.
#[derive(Clone)]
pub struct Case {
    pub gates: Gates,
    pub fast_path: bool,
    /// Whether telemetry is flushed after every step, not after batches alone.
    pub flush: bool,
    /// Steps from one checkpoint of the weights to the next.
    pub every: u64,
    pub steps: Vec<Step>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gates, fast_path, flush, every, steps } = self;
        writeln!(f, "gates {gates:?}, fast_path {fast_path}, flush {flush}, every {every}")?;
        steps.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "{:4}. {step:?}", number + 1))
    }
}

pub fn cases(most_steps: usize) -> impl Strategy<Value = Case> {
    let gates = prop_oneof![8 => Just(Gates::Lenient), 3 => Just(Gates::Strict), 1 => Just(Gates::Deaf)];
    let fast_path = prop_oneof![3 => Just(true), 1 => Just(false)];
    let every = prop_oneof![3 => Just(1_u64), 1 => Just(7)];
    (gates, fast_path, any::<bool>(), every, vec(step(), 1..=most_steps))
        .prop_map(|(gates, fast_path, flush, every, steps)| Case { gates, fast_path, flush, every, steps })
}

fn step() -> impl Strategy<Value = Step> {
    let seed = || select(&Who::SEEDS[..]);
    let kernel = || select(vec![Kernel::Mlp, Kernel::Thin, Kernel::Late, Kernel::Cnn]);
    let share = select(vec![Share::ById, Share::ByTensor]);
    let waits = vec![1, 10, 30, 30, 31, 61, 301, 3_601];
    let jumps = vec![-3_600, -301, -61, -4, 4, 61, 301];
    let aim = prop_oneof![6 => any::<u8>().prop_map(Aim::Kept), 2 => Just(Aim::Unsaid), 1 => Just(Aim::Unknown)];
    let then = prop_oneof![4 => Just(Then::AtOnce), 1 => Just(Then::AtLast), 2 => Just(Then::Later)];
    let of_whom = prop_oneof![3 => Just(Who::All), 4 => seed()];
    let logits = prop_oneof![5 => Just(true), 1 => Just(false)];
    prop_oneof![
        36 => seed().prop_map(Step::Next),
        30 => ((1_u8..=5), logits).prop_map(|(batches, logits)| Step::Train(batches, logits)),
        18 => (who(), what(), how()).prop_map(|(who, what, how)| Step::Send(who, what, how)),
        3 => (0_usize..12).prop_map(Step::Replay),
        1 => vec(any::<u8>(), 0..40).prop_map(Step::Garbage),
        2 => Just(Step::NanBatch),
        6 => select(waits).prop_map(Step::Wait),
        2 => select(jumps).prop_map(Step::Jump),
        4 => (seed(), share).prop_map(|(who, share)| Step::Tamper(who, share)),
        1 => seed().prop_map(Step::Spoil),
        2 => kernel().prop_map(Step::Fail),
        2 => kernel().prop_map(Step::Heal),
        1 => select(vec![Valid::None, Valid::Same, Valid::Worse, Valid::Nan]).prop_map(Step::Validate),
        1 => Just(Step::Epoch),
        4 => Just(Step::Crash),
        3 => Just(Step::FailStore),
        5 => Just(Step::Checkpoint),
        4 => (of_whom, aim, then).prop_map(|(who, aim, then)| Step::Rollback(who, aim, then)),
        2 => Just(Step::GoBack),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![20 => select(&Who::SEEDS[..]), 1 => Just(Who::Nobody), 1 => select(vec![Who::Unnamed, Who::All])]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        16 => Just(How::Honest),
        2 => select(vec![60, 61, 30, -5, -6, 600]).prop_map(How::Aged),
        1 => select(vec![How::Late, How::InTime, How::WrongRun, How::Forged]),
        1 => select(vec![How::ReusedId, How::WithoutId, How::WithoutTime]),
        1 => any::<u16>().prop_map(How::Flipped),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let kernel = prop_oneof![
        6 => select(vec![Kernel::Mlp, Kernel::Thin, Kernel::Late]),
        2 => select(vec![Kernel::Cnn, Kernel::Unknown, Kernel::Unnamed]),
    ];
    let extra = prop_oneof![
        5 => Just(Extra::Plain),
        2 => select(vec![Extra::Slow, Extra::NanRate, Extra::UnknownParameter]),
    ];
    let blend = prop_oneof![
        6 => select(vec![Blend::Unsaid, Blend::Convex, Blend::Residual, Blend::Channel, Blend::Confidence]),
        2 => select(vec![
            Blend::ChannelShort,
            Blend::ChannelWithout,
            Blend::ChannelOutside,
            Blend::LengthLies,
            Blend::Unheard,
            Blend::GateNoNumber,
            Blend::GateNegative,
        ]),
    ];
    let schedule = prop_oneof![
        9 => select(vec![Schedule::Linear, Schedule::Cosine, Schedule::Unsaid]),
        1 => Just(Schedule::Unheard),
    ];
    let total = prop_oneof![9 => (1_u8..=5).prop_map(|steps| Number::Is(steps.into())), 1 => Just(Number::Is(0.5))];
    let number = || {
        let odd = select(vec![Number::Missing, Number::Is(f32::NAN), Number::Is(-1.0), Number::Is(0.5)]);
        prop_oneof![3 => (1_u8..=4).prop_map(|number| Number::Is(number.into())), 1 => odd]
    };
    let flag = || prop_oneof![4 => select(vec![Flag::Absent, Flag::Yes, Flag::No]), 1 => Just(Flag::Odd)];
    let breaker = select(vec![Breaker::Unsaid, Breaker::Isolation, Breaker::Kernels, Breaker::Unheard]);
    let state = select(vec![CircuitStateClosed, CircuitStateOpen, CircuitStateHalfOpen, CircuitStateUnknown]);
    prop_oneof![
        8 => (kernel, extra).prop_map(|(kernel, extra)| What::Germinate(kernel, extra)),
        2 => Just(What::StartTraining),
        6 => (blend, schedule, total).prop_map(|(blend, schedule, total)| What::Graft(blend, schedule, total)),
        2 => Just(What::Stabilize),
        2 => Just(What::Evaluate),
        4 => number().prop_map(What::FineTune),
        2 => Just(What::Fossilize),
        3 => Just(What::Cull),
        2 => Just(What::Cancel),
        6 => flag().prop_map(What::Pause),
        2 => number().prop_map(What::Optimizer),
        2 => (breaker, state).prop_map(|(breaker, state)| What::Force(breaker, state)),
        1 => flag().prop_map(What::Emergency),
        2 => select(vec![
            What::NoOperation,
            What::NoPayload,
            What::OptimizerWithoutPayload,
            What::Rollback(None),
            What::Rollback(Some(1)),
            What::Pruning,
            What::Untyped,
        ]),
    ]
}
