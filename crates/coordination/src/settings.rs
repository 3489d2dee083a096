//! Settings, with the source of each default.

use std::time::Duration;

use crate::limits::Limits;

/// Who gets the votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Votes {
    /// Everybody: each worker sees for itself what is decided, after four messages in a row. On a bus this costs the
    /// sender no more than telling one, and every worker checks all signatures.
    ToAll,
    /// The holder, which sends what they prove: six messages in a row, and each node but the holder sends and gets a
    /// few. For groups of more than some twenty workers.
    ToHolder,
}

/// Settings of coordination. All workers of a group have the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A round is held before every step that is a multiple of this. Default 100: the contract's.
    pub every: u64,
    /// How many steps after its round a plan is applied. Less than `every`, so that a round has ended before the next.
    /// Default 10: a worker whose wait has timed out can learn of the decision in these steps and is still in lock-step.
    pub lead: u64,
    /// How long a worker waits for a round, and again at the step where an accepted plan may have to be applied. Default
    /// 5,000 ms: the contract's.
    pub timeout: Duration,
    /// How often a worker asks again while a round is undecided. Default 200 ms: 25 times in a timeout.
    pub retry: Duration,
    /// How long the holder waits for more workers once a quorum has come. Default 20 ms: a worker that is later is a
    /// straggler, and its orders wait for the next round.
    pub grace: Duration,
    /// How long the holder waits for all workers if one of them has an order to go back. Default 2,000 ms: the
    /// contract's prepare phase. The commit phase is `timeout`.
    pub rollback_prepare: Duration,
    /// How long a decided command id is remembered, by the time of the rounds. Default 300 s: that of the nonces.
    pub remember: Duration,
    /// How many decided command ids are remembered. Default 10,000: that of the nonces.
    pub remember_most: usize,
    /// How many decisions are kept for workers that come late. Default 16: 1,600 steps.
    pub decisions: usize,
    /// A sketch further than this from the median of all, in units of the median's norm, is an outlier. Default 0.01: a
    /// thousand times what the order of a sum changes in 32-bit floats.
    pub sketch_tolerance: f32,
    /// Who gets the votes. Default everybody.
    pub votes: Votes,
    /// What a message may hold.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: 100,
            lead: 10,
            timeout: Duration::from_millis(5_000),
            retry: Duration::from_millis(200),
            grace: Duration::from_millis(20),
            rollback_prepare: Duration::from_millis(2_000),
            remember: Duration::from_secs(300),
            remember_most: 10_000,
            decisions: 16,
            sketch_tolerance: 0.01,
            votes: Votes::ToAll,
            limits: Limits::default(),
        }
    }
}

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A setting is too small. Durations are in milliseconds.
    #[error("`{setting}` has to be at least {least}")]
    TooSmall {
        /// The setting.
        setting: &'static str,
        /// What it has to be.
        least: u64,
    },
    /// The plan of a round would be applied at the next round or after it.
    #[error("`lead` ({lead}) has to be less than `every` ({every})")]
    Lead {
        /// The steps between a round and its plan.
        lead: u64,
        /// The steps between two rounds.
        every: u64,
    },
    /// The tolerance is not a positive number.
    #[error("`sketch_tolerance` has to be a positive number")]
    Tolerance,
}

impl Settings {
    /// # Errors
    /// [`SettingsError`], for the first setting that cannot work.
    pub fn check(&self) -> Result<(), SettingsError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let least = [
            ("every", self.every, 1),
            ("retry", millis(self.retry), 1),
            ("timeout", millis(self.timeout), 2 * millis(self.retry)),
            ("timeout", millis(self.timeout), millis(self.rollback_prepare) + millis(self.retry)),
            ("timeout", millis(self.timeout), millis(self.grace) + millis(self.retry)),
            ("remember_most", self.remember_most as u64, self.limits.orders as u64),
            ("decisions", self.decisions as u64, 1),
            ("limits.orders", self.limits.orders as u64, 1),
        ];
        if let Some((setting, _, least)) = least.into_iter().find(|(_, value, least)| value < least) {
            return Err(SettingsError::TooSmall { setting, least });
        }
        if self.lead >= self.every {
            return Err(SettingsError::Lead { lead: self.lead, every: self.every });
        }
        if !(self.sketch_tolerance > 0.0 && self.sketch_tolerance.is_finite()) {
            return Err(SettingsError::Tolerance);
        }
        Ok(())
    }
}
