//! What a worker asks its caller to do.

use std::sync::Arc;

use crate::{Event, Kept, Message, Plan, Round, WorkerId, statement::Hash};

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// All other workers.
    All,
    /// One of them.
    One(WorkerId),
}

/// What a worker asks its caller to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make this durable before anything that follows: the worker has given its word.
    Keep(Kept),
    /// Send this. It may be lost, late, repeated and overtaken.
    Send {
        /// To whom.
        to: To,
        /// What.
        message: Arc<Message>,
    },
    /// Look who holds the lease, and tell [`lease_seen`](crate::Worker::lease_seen).
    CheckLease,
    /// Give the lease back, and let anybody take it: under a new token a plan can be proposed again that came to no end.
    YieldLease,
    /// A round is decided. Apply its orders before the step [`Plan::apply_at`].
    Decided(Decided),
    /// The wait for a round is over, nothing is decided, and this worker has not accepted anything: train on. If the
    /// others decide without it and it hears of that in time, [`Decided`](Self::Decided) follows. It also ends
    /// [`Isolation::Undecided`], if the others have decided something else ([`Undecided::Skipped`]).
    NoDecision {
        /// The round.
        round: Round,
        /// Why.
        cause: Undecided,
    },
    /// The wait for a round is over, and this worker has accepted a plan of which it does not know whether it is decided:
    /// train on, up to the step at which it would be applied.
    Promised {
        /// The round.
        round: Round,
        /// The step that must not begin before that is known.
        apply_at: u64,
    },
    /// This replica is out of lock-step. Restore it from a checkpoint of the replica that has the newest decision.
    /// After [`Isolation::Undecided`] it goes on asking while it waits, and [`Decided`](Self::Decided) or
    /// [`NoDecision`](Self::NoDecision) may follow after all.
    Isolated {
        /// The round.
        round: Round,
        /// Why.
        cause: Isolation,
    },
    /// Something happened.
    Event(Event),
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The round.
    pub round: Round,
    /// What to apply, and when: orders that earlier rounds have decided are left out.
    pub plan: Plan,
    /// The hash of what was decided.
    pub hash: Hash,
}

/// Why a round ended for a worker without a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// It has never seen anybody hold the lease.
    NoHolder,
    /// It was the holder, and too few came.
    NoQuorum,
    /// The others have decided a later round, and nothing in between.
    Skipped,
    /// It has waited, and heard of no decision.
    TimedOut,
}

impl Undecided {
    /// The machine-readable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoHolder => "no_holder",
            Self::NoQuorum => "no_quorum",
            Self::Skipped => "round_skipped",
            Self::TimedOut => "round_timed_out",
        }
    }
}

/// Why a replica is out of lock-step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It has accepted a plan, has come to its step, and cannot learn whether it was decided. Even if it is restored, it
    /// votes again only once it knows of that decision or a later one.
    Undecided,
    /// A plan was decided whose step it has passed without it.
    Missed,
    /// Two plans were decided in one round.
    Conflict,
}

impl Isolation {
    /// The machine-readable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Undecided => "decision_unknown",
            Self::Missed => "decision_missed",
            Self::Conflict => "decisions_conflict",
        }
    }
}

/// Whether the next step may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It may.
    Go,
    /// It does not begin: a round has decided to go back to the checkpoint of this epoch. Then say
    /// [`went_back`](crate::Worker::went_back).
    GoBack {
        /// The epoch.
        epoch: u64,
    },
    /// Not yet: the worker waits for a decision.
    Wait,
    /// Not at all: the replica is out of lock-step.
    Isolated(Isolation),
}

/// The caller has done something out of order. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// Rounds are held at multiples of `every`.
    #[error("step {step} is not a multiple of {every}")]
    NotABarrier {
        /// The step.
        step: u64,
        /// The steps between two rounds.
        every: u64,
    },
    /// A round is held at this step, and the worker has not come to it.
    #[error("a round is held before step {step}")]
    SkippedBarrier {
        /// The step.
        step: u64,
    },
    /// The step has begun already.
    #[error("step {step} comes after step {next} would")]
    Backwards {
        /// The step.
        step: u64,
        /// The first step that has not begun.
        next: u64,
    },
    /// The worker still waits for a decision.
    #[error("{round} is not over")]
    Waiting {
        /// The round.
        round: Round,
    },
    /// The replica is out of lock-step.
    #[error("the replica is out of lock-step: {}", .0.reason())]
    Isolated(Isolation),
    /// No round has decided to go back.
    #[error("no round has decided to go back")]
    NoRollback,
}
