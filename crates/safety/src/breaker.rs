//! The circuit breaker.

use std::{collections::VecDeque, time::Duration};

use kasmina_leyline::{
    Monotonic,
    v1::CircuitBreakerState::{self, CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
};

use serde::{Deserialize, Serialize};

use crate::BreakerSettings;

/// A circuit breaker: after failures in a row, or within a window of time, it refuses, after a timeout it admits trials, and after successes in a row it
/// closes again.
///
/// Ask [`allow`](Self::allow) before the guarded operation and record its outcome afterwards. A wrong yes repeats an
/// operation that is known to fail; a wrong no delays one by at most the timeout. A breaker holds no clock: a refusal names
/// the earliest time at which asking again can help. A clone copies a few words, and with a window the times of the failures in it.
///
/// | state | success | failure | `allow` after the timeout |
/// |---|---|---|---|
/// | CLOSED | resets the count of failures, unless there is a window | counts; opens at `failure_threshold` | - |
/// | OPEN | ignored | ignored | HALF_OPEN |
/// | HALF_OPEN | counts; closes at `success_threshold` | opens for another timeout | - |
///
/// While OPEN, outcomes are ignored: they belong to operations that were admitted before. HALF_OPEN admits every trial; to
/// run one at a time, record the outcome before you ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// When the failures in the window were, oldest first; fewer than open the breaker. Empty without a window.
    recent: VecDeque<Monotonic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Monotonic },
    HalfOpen { successes: u32 },
}

/// The state of a breaker without its settings and without a clock, to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum BreakerSnapshot {
    /// Failures in a row so far.
    Closed { failures: u32 },
    /// How much of the timeout was left.
    Open { left: Duration },
    /// Successes in a row so far.
    HalfOpen { successes: u32 },
}

/// A transition of a breaker, or a success of a half-open one (then `from` equals `to`, unless it was the last needed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct BreakerEvent {
    pub from: CircuitBreakerState,
    pub to: CircuitBreakerState,
    pub cause: BreakerCause,
    pub at: Monotonic,
}

/// The cause of a [`BreakerEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerCause {
    /// This many failures in a row.
    #[strum(serialize = "failure_threshold")]
    Failures(u32),
    /// The timeout had run out when [`Breaker::allow`] was called.
    TimeoutElapsed,
    /// A trial succeeded; the number of successes in a row, including this one.
    TrialSucceeded(u32),
    /// A trial failed.
    TrialFailed,
    /// [`Breaker::force`].
    Forced,
}

impl BreakerCause {
    /// The machine-readable name, stable across versions.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.into()
    }
}

/// The breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the breaker is open for another {:?}", .retry_at.since(*.now))]
#[non_exhaustive]
pub struct BreakerOpen {
    /// When the breaker was asked.
    pub now: Monotonic,
    /// The earliest time at which it admits trials.
    pub retry_at: Monotonic,
}

impl BreakerOpen {
    /// The machine-readable name, stable across versions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "breaker_open"
    }
}

/// A breaker cannot be forced into [`CircuitStateUnknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot force a breaker into CIRCUIT_STATE_UNKNOWN; expected CLOSED, OPEN or HALF_OPEN")]
pub struct UnknownState;

impl UnknownState {
    /// The machine-readable name, stable across versions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "unknown_breaker_state"
    }
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, recent: VecDeque::new() }
    }

    /// A breaker in the state of `snapshot`. A timeout that was running goes on from `now`, for at most a whole timeout of
    /// `settings`. Failures in a window count from `now`.
    #[must_use]
    pub fn resumed(settings: BreakerSettings, snapshot: BreakerSnapshot, now: Monotonic) -> Self {
        let mut recent = VecDeque::new();
        let state = match snapshot {
            BreakerSnapshot::Closed { failures } => {
                if !settings.window.is_zero() {
                    // One fewer than opens it, if the settings have become stricter.
                    let counted = failures.min(settings.failure_threshold.saturating_sub(1));
                    recent.extend((0..counted).map(|_| now));
                }
                State::Closed { failures }
            }
            BreakerSnapshot::Open { left } => State::Open { until: now.after(left.min(settings.timeout)) },
            BreakerSnapshot::HalfOpen { successes } => State::HalfOpen { successes },
        };
        Self { settings, state, recent }
    }

    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn settings(&self) -> BreakerSettings {
        self.settings
    }

    /// The state to be stored at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Monotonic) -> BreakerSnapshot {
        match self.state {
            State::Closed { failures } if self.settings.window.is_zero() => BreakerSnapshot::Closed { failures },
            State::Closed { .. } => {
                let counted = self.recent.iter().filter(|at| self.counts(**at, now)).count();
                BreakerSnapshot::Closed { failures: u32::try_from(counted).unwrap_or(u32::MAX) }
            }
            State::Open { until } => BreakerSnapshot::Open { left: until.since(now) },
            State::HalfOpen { successes } => BreakerSnapshot::HalfOpen { successes },
        }
    }

    /// The answer that [`allow`](Self::allow) would give at `now`. Nothing changes.
    ///
    /// # Errors
    /// [`BreakerOpen`] while the timeout runs.
    pub fn peek(&self, now: Monotonic) -> Result<(), BreakerOpen> {
        match self.state {
            State::Open { until } if now < until => Err(BreakerOpen { now, retry_at: until }),
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => Ok(()),
        }
    }

    /// Asks whether the operation may be tried at `now`. The first call after the timeout makes an open breaker half-open
    /// and returns that event.
    ///
    /// # Errors
    /// [`BreakerOpen`] while the timeout runs.
    pub fn allow(&mut self, now: Monotonic) -> Result<Option<BreakerEvent>, BreakerOpen> {
        self.peek(now)?;
        let elapsed = matches!(self.state, State::Open { .. });
        Ok(elapsed.then(|| self.enter(State::HalfOpen { successes: 0 }, BreakerCause::TimeoutElapsed, now)))
    }

    /// Records that the operation succeeded.
    pub fn record_success(&mut self, now: Monotonic) -> Option<BreakerEvent> {
        match self.state {
            State::Closed { .. } => {
                self.state = State::Closed { failures: 0 };
                None
            }
            State::Open { .. } => None,
            State::HalfOpen { successes } => {
                let successes = successes.saturating_add(1);
                let enough = successes >= self.settings.success_threshold;
                let next = if enough { State::Closed { failures: 0 } } else { State::HalfOpen { successes } };
                Some(self.enter(next, BreakerCause::TrialSucceeded(successes), now))
            }
        }
    }

    /// Records that the operation failed.
    pub fn record_failure(&mut self, now: Monotonic) -> Option<BreakerEvent> {
        let open = State::Open { until: now.after(self.settings.timeout) };
        match self.state {
            State::Closed { failures } => {
                let failures = self.count(failures, now);
                if failures >= self.settings.failure_threshold {
                    return Some(self.enter(open, BreakerCause::Failures(failures), now));
                }
                self.state = State::Closed { failures };
                None
            }
            State::Open { .. } => None,
            State::HalfOpen { .. } => Some(self.enter(open, BreakerCause::TrialFailed, now)),
        }
    }

    /// Puts the breaker into `state` as if it had just entered it: OPEN refuses for a full timeout from `now`, HALF_OPEN needs
    /// all its successes. From then on the usual rules apply: a forced state does not last, so a forgotten order neither blocks
    /// an operation for good nor disables its protection.
    ///
    /// # Errors
    /// [`UnknownState`] for [`CircuitStateUnknown`]; nothing changes.
    pub fn force(&mut self, state: CircuitBreakerState, now: Monotonic) -> Result<BreakerEvent, UnknownState> {
        let next = match state {
            CircuitStateUnknown => return Err(UnknownState),
            CircuitStateClosed => State::Closed { failures: 0 },
            CircuitStateOpen => State::Open { until: now.after(self.settings.timeout) },
            CircuitStateHalfOpen => State::HalfOpen { successes: 0 },
        };
        Ok(self.enter(next, BreakerCause::Forced, now))
    }

    /// The state as of the last call. An open breaker whose timeout has run out stays OPEN until it is asked.
    #[must_use]
    pub const fn state(&self) -> CircuitBreakerState {
        match self.state {
            State::Closed { .. } => CircuitStateClosed,
            State::Open { .. } => CircuitStateOpen,
            State::HalfOpen { .. } => CircuitStateHalfOpen,
        }
    }

    /// How many failures count, with one more at `now`.
    fn count(&mut self, in_a_row: u32, now: Monotonic) -> u32 {
        if self.settings.window.is_zero() {
            return in_a_row.saturating_add(1);
        }
        while self.recent.front().is_some_and(|at| !self.counts(*at, now)) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    /// Whether a failure at `at` still counts at `now`.
    fn counts(&self, at: Monotonic, now: Monotonic) -> bool {
        now.since(at) < self.settings.window
    }

    fn enter(&mut self, next: State, cause: BreakerCause, at: Monotonic) -> BreakerEvent {
        let from = self.state();
        self.state = next;
        self.recent.clear();
        BreakerEvent { from, to: self.state(), cause, at }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(BreakerSettings::default())
    }
}
