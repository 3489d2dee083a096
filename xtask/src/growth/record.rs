//! What one run of one contender has shown.

use std::fmt;

use kasmina::grown::FossilSpec;
use serde::{Deserialize, Serialize};

use super::policy::Grown;

/// Whom growth is compared with, and growth itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Contender {
    /// The host alone.
    Control,
    /// The host, into which seeds grow while it learns.
    Grown,
    /// What the grown network has become, from the start: the same host and kernels with new weights.
    ScratchSame,
    /// A wider network of the host's kind with at least the grown one's parameters.
    ScratchWide,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) contender: Contender,
    pub(super) seed: u64,
    /// The widths of the host.
    pub(super) network: String,
    /// At the end.
    pub(super) parameters: u64,
    /// Those that were done: fewer than the recipe's for a run that diverged.
    pub(super) steps: u64,
    /// The sum over the steps of the parameters that were trained: those of the network and of all seeds that learned.
    pub(super) parameter_steps: u64,
    /// Of the training steps, without evaluations.
    pub(super) seconds: f64,
    /// Whether a loss was NaN or infinite. Such a run stops there and has no scores.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) diverged: bool,
    /// Absent if the run diverged.
    pub(super) validation: Option<Score>,
    /// Absent if the run diverged, or if the recipe leaves the test part alone.
    pub(super) test: Option<Score>,
    /// Seeds that were chosen, in this order.
    #[serde(default)]
    pub(super) growth: Vec<Grown>,
    /// Kernels of the network, in the order in which they became part of it.
    #[serde(default)]
    pub(super) fossils: Vec<FossilSpec>,
}

/// How well a network does on one part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Score {
    /// The mean cross-entropy in nats.
    pub(super) loss: f64,
    /// The share of right labels, 0 to 1.
    pub(super) accuracy: f64,
}

impl Score {
    pub(super) fn is_finite(self) -> bool {
        self.loss.is_finite() && self.accuracy.is_finite()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Contender {
    /// In the order in which they run: the last two need to know what has grown.
    pub(super) const ALL: [Self; 4] = [Self::Control, Self::Grown, Self::ScratchSame, Self::ScratchWide];
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Control => "control",
            Self::Grown => "grown",
            Self::ScratchSame => "scratch_same",
            Self::ScratchWide => "scratch_wide",
        })
    }
}
