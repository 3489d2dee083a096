//! Why an exchange failed.

use std::time::Duration;

/// Why an exchange between workers failed. No worker may use what it has of the step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// Not all workers came in time.
    #[error("workers {missing:?} did not come within {within:?}")]
    #[allow(missing_docs, reason = "the names say it")]
    TimedOut { missing: Vec<usize>, within: Duration },
    /// The others gave this exchange up before this worker came to it.
    #[error("the other workers gave the exchange up")]
    GivenUp,
    /// Workers have left for good.
    #[error("workers {workers:?} have left")]
    #[allow(missing_docs, reason = "the names say it")]
    Left { workers: Vec<usize> },
    /// The workers are not at the same place of the same step.
    #[error("worker {worker} brings {theirs}, and this one {ours}")]
    #[allow(missing_docs, reason = "the names say it")]
    Mismatch { worker: usize, ours: String, theirs: String },
    /// This worker has not met the others yet.
    #[error("this worker has not met the others")]
    NotMet,
    /// An exchange timed out, and this group cannot make another.
    #[error("this group of workers ended when an exchange timed out; form a new one")]
    Ended,
    /// What carries the exchange failed.
    #[error("the link failed: {0}")]
    Link(String),
}

impl ReduceError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "workers_missing",
            Self::GivenUp => "exchange_given_up",
            Self::Left { .. } => "workers_left",
            Self::Mismatch { .. } => "workers_apart",
            Self::NotMet => "workers_not_met",
            Self::Ended => "group_ended",
            Self::Link(_) => "link_failed",
        }
    }
}
