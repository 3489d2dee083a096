//! What has been measured of a grafted seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use crate::recent::Recent;

/// What has been measured of a grafted seed, as the gates and the state packets read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// Steps since it entered its stage, those in which it was paused left out.
    pub steps: u64,
    /// Losses of the last learning passes of its stage that it took part in, oldest first; at most [`Vitals::WINDOW`]. A hunt empties it.
    pub losses: Recent<f32>,
    /// L2 norm of its last sampled gradient.
    pub gradient_norm: Option<f32>,
    /// Learning rate of its last optimizer step.
    pub learning_rate: f64,
    /// How long its kernel and blend took.
    pub blend_latency: Latencies,
    /// How long the isolation check took in the passes that it took part in.
    pub verify_latency: Latencies,
}

impl Vitals {
    /// Losses that are kept. Gates look at fewer.
    pub const WINDOW: usize = 256;

    pub(crate) fn record_loss(&mut self, loss: f32) {
        self.losses.record(loss, Self::WINDOW);
    }
}

/// The last durations of something that is done in every step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies(Recent<Duration>);

impl Latencies {
    /// Enough that one interruption by the operating system does not move the median.
    const WINDOW: usize = 32;

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.record(latency, Self::WINDOW);
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median; zero before the first.
    #[must_use]
    pub fn median(&self) -> Duration {
        let mut sorted: SmallVec<[_; Self::WINDOW]> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}
