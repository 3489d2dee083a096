//! The circuit breaker.

use kasmina_leyline::{
    Monotonic,
    v1::CircuitBreakerState::{self, CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
};

use crate::BreakerSettings;

/// A circuit breaker: after failures in a row it refuses, after a while it lets trials through, and after successes in
/// a row it trusts again.
///
/// Ask [`allow`](Self::allow) before the guarded operation and record its outcome afterwards. A wrong yes repeats an
/// operation that is known to fail; a wrong no delays one by at most the timeout. It holds no clock: a refusal names
/// the time from which asking again can help.
///
/// | state | success | failure | asked after the timeout |
/// |---|---|---|---|
/// | CLOSED | forgets the failures so far | counts; opens at `failure_threshold` | - |
/// | OPEN | ignored | ignored | HALF_OPEN |
/// | HALF_OPEN | counts; closes at `success_threshold` | opens for another timeout | - |
///
/// While OPEN, outcomes are ignored: they are of operations that were admitted before. HALF_OPEN admits every trial;
/// whoever must run one at a time records the outcome before asking again.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Monotonic },
    HalfOpen { successes: u32 },
}

/// A transition of a breaker, or a success of a half-open one (then `from` equals `to`, unless it was the last needed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerEvent {
    /// The state before.
    pub from: CircuitBreakerState,
    /// The state after.
    pub to: CircuitBreakerState,
    /// What brought it about.
    pub cause: BreakerCause,
    /// When.
    pub at: Monotonic,
}

/// What brought a [`BreakerEvent`] about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerCause {
    /// The last of so many failures in a row.
    Failures(u32),
    /// The timeout ran out and somebody asked.
    TimeoutElapsed,
    /// A trial succeeded; the count of successes in a row, this one included.
    TrialSucceeded(u32),
    /// A trial failed.
    TrialFailed,
    /// Somebody forced the state.
    Forced,
}

impl BreakerCause {
    /// The machine-readable name.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Failures(_) => "failure_threshold",
            Self::TimeoutElapsed => "timeout_elapsed",
            Self::TrialSucceeded(_) => "trial_succeeded",
            Self::TrialFailed => "trial_failed",
            Self::Forced => "forced",
        }
    }
}

/// The breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the breaker is open for another {:?}", .retry_at.since(*.now))]
#[non_exhaustive]
pub struct BreakerOpen {
    /// When it was asked.
    pub now: Monotonic,
    /// From when on it lets trials through.
    pub retry_at: Monotonic,
}

impl BreakerOpen {
    /// The machine-readable name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "breaker_open"
    }
}

/// [`CircuitStateUnknown`] is no state that a breaker can be forced into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CIRCUIT_STATE_UNKNOWN is no state to force a breaker into; expected CLOSED, OPEN or HALF_OPEN")]
pub struct UnknownState;

impl UnknownState {
    /// The machine-readable name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "unknown_breaker_state"
    }
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 } }
    }

    /// Asks whether the operation may be tried at `now`. The first question after the timeout makes an open breaker
    /// half-open and is answered with that event.
    ///
    /// # Errors
    /// [`BreakerOpen`] while the timeout runs.
    pub fn allow(&mut self, now: Monotonic) -> Result<Option<BreakerEvent>, BreakerOpen> {
        match self.state {
            State::Closed { .. } | State::HalfOpen { .. } => Ok(None),
            State::Open { until } if now < until => Err(BreakerOpen { now, retry_at: until }),
            State::Open { .. } => {
                Ok(Some(self.enter(State::HalfOpen { successes: 0 }, BreakerCause::TimeoutElapsed, now)))
            }
        }
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
                let failures = failures.saturating_add(1);
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

    /// Puts the breaker into `state`, with the counts of a breaker that has just entered it: OPEN refuses for a full
    /// timeout from `now`, HALF_OPEN needs all its successes. From there the breaker goes on by its own rules: a forced
    /// state does not stick, so a forgotten order neither blocks an operation for good nor disables its protection.
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

    fn enter(&mut self, next: State, cause: BreakerCause, at: Monotonic) -> BreakerEvent {
        let from = self.state();
        self.state = next;
        BreakerEvent { from, to: self.state(), cause, at }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(BreakerSettings::default())
    }
}
