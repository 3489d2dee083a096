//! What the group should hear of. Nobody is expelled for it.

use crate::{Evidence, Isolation, Round, Undecided, Unfounded, WorkerId};

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the record.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody has to act.
    Critical,
}

/// Which part of a digest differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The engine's state.
    State,
    /// The set of parameters.
    Parameters,
}

/// Something that happened. A worker's votes count however often it is named here.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A quorum had come to the round, the grace was over, and this worker had not.
    Straggler {
        /// The round.
        round: Round,
        /// The worker.
        worker: WorkerId,
    },
    /// A worker has said two things where it may say one. Both are here, with its signatures.
    Equivocation(Box<Evidence>),
    /// Replicas differ that should be equal.
    DigestMismatch {
        /// The round.
        round: Round,
        /// In what they differ.
        part: Part,
        /// The workers that differ from the most common value.
        minority: Vec<WorkerId>,
        /// How many have that value. If it is not more than half, nobody knows who is right.
        majority: usize,
    },
    /// A worker's gradients are not those of the others.
    SketchOutlier {
        /// The round.
        round: Round,
        /// The worker.
        worker: WorkerId,
        /// The distance from the median sketch, in units of its norm.
        distance: f32,
    },
    /// A message that the worker it names has not signed.
    Forged {
        /// The worker that it names.
        claimed: WorkerId,
        /// The kind of message.
        message: &'static str,
    },
    /// A holder's plan that does not follow from the promises that it shows.
    Unjustified {
        /// The round.
        round: Round,
        /// The holder.
        worker: WorkerId,
        /// What is wrong.
        cause: Unfounded,
    },
    /// Two plans have a certificate in one round: more workers lie than the group can bear.
    AgreementBroken {
        /// The round.
        round: Round,
    },
    /// A round has ended without a decision: nothing germinates until one is decided.
    GerminationPaused {
        /// The round.
        round: Round,
        /// Why there was no decision.
        cause: Undecided,
    },
    /// A round was decided again.
    GerminationResumed {
        /// The round.
        round: Round,
    },
    /// This replica is out of lock-step.
    Isolated {
        /// The round.
        round: Round,
        /// Why.
        cause: Isolation,
    },
}

impl Event {
    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Straggler { .. } => "straggler",
            Self::Equivocation(_) => "equivocation",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::SketchOutlier { .. } => "sketch_outlier",
            Self::Forged { .. } => "forged_message",
            Self::Unjustified { .. } => "unjustified_plan",
            Self::AgreementBroken { .. } => "agreement_broken",
            Self::GerminationPaused { .. } => "germination_paused",
            Self::GerminationResumed { .. } => "germination_resumed",
            Self::Isolated { .. } => "replica_isolated",
        }
    }

    /// The machine-readable reason, if there is more to say than the name.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unjustified { cause, .. } => Some(cause.reason()),
            Self::GerminationPaused { cause, .. } => Some(cause.reason()),
            Self::Isolated { cause, .. } => Some(cause.reason()),
            Self::Straggler { .. }
            | Self::Equivocation(_)
            | Self::DigestMismatch { .. }
            | Self::SketchOutlier { .. }
            | Self::Forged { .. }
            | Self::AgreementBroken { .. }
            | Self::GerminationResumed { .. } => None,
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::GerminationResumed { .. } => Severity::Info,
            Self::Straggler { .. }
            | Self::SketchOutlier { .. }
            | Self::Forged { .. }
            | Self::GerminationPaused { .. } => Severity::Warning,
            Self::Equivocation(_)
            | Self::DigestMismatch { .. }
            | Self::Unjustified { .. }
            | Self::AgreementBroken { .. }
            | Self::Isolated { .. } => Severity::Critical,
        }
    }
}
