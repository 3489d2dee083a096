//! The breaker as a script, and against a model that keeps the whole history and counts it anew each time.

use std::time::Duration;

use kasmina_leyline::{
    Monotonic,
    v1::CircuitBreakerState::{self, CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
};
use kasmina_safety::{Breaker, BreakerCause, BreakerEvent, BreakerSettings, BreakerSnapshot, UnknownState};
use proptest::prelude::*;

const SETTINGS: BreakerSettings = BreakerSettings {
    failure_threshold: 3,
    timeout: Duration::from_millis(10),
    success_threshold: 2,
    window: Duration::ZERO,
};

fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

fn event(from: CircuitBreakerState, to: CircuitBreakerState, cause: BreakerCause, millis: u64) -> Option<BreakerEvent> {
    Some(BreakerEvent { from, to, cause, at: at(millis) })
}

#[test]
fn breaker_opens_waits_admits_trials_and_closes() {
    let mut breaker = Breaker::new(SETTINGS);
    assert_eq!(breaker.allow(at(0)), Ok(None));
    assert_eq!(breaker.record_failure(at(0)), None);
    assert_eq!(breaker.record_failure(at(1)), None);
    assert_eq!(
        breaker.record_failure(at(2)),
        event(CircuitStateClosed, CircuitStateOpen, BreakerCause::Failures(3), 2)
    );

    let refused = breaker.allow(at(11)).unwrap_err();
    assert_eq!((refused.retry_at, refused.reason()), (at(12), "breaker_open"));
    assert_eq!(refused.to_string(), "the breaker is open for another 1ms");
    assert_eq!(breaker.state(), CircuitStateOpen);

    let half_open = event(CircuitStateOpen, CircuitStateHalfOpen, BreakerCause::TimeoutElapsed, 12);
    assert_eq!(breaker.allow(at(12)), Ok(half_open));
    assert_eq!(breaker.allow(at(12)), Ok(None));
    assert_eq!(
        breaker.record_success(at(13)),
        event(CircuitStateHalfOpen, CircuitStateHalfOpen, BreakerCause::TrialSucceeded(1), 13)
    );
    assert_eq!(
        breaker.record_success(at(14)),
        event(CircuitStateHalfOpen, CircuitStateClosed, BreakerCause::TrialSucceeded(2), 14)
    );
    assert_eq!(breaker.record_success(at(15)), None);
}

#[test]
fn failed_trial_opens_for_another_timeout() {
    let mut breaker = Breaker::new(SETTINGS);
    breaker.force(CircuitStateHalfOpen, at(0)).unwrap();
    breaker.record_success(at(1));
    assert_eq!(
        breaker.record_failure(at(2)),
        event(CircuitStateHalfOpen, CircuitStateOpen, BreakerCause::TrialFailed, 2)
    );
    assert_eq!(breaker.allow(at(11)).unwrap_err().retry_at, at(12));
}

#[test]
fn success_resets_the_count_of_failures() {
    let mut breaker = Breaker::new(SETTINGS);
    for millis in 0..10 {
        breaker.record_failure(at(millis));
        breaker.record_failure(at(millis));
        breaker.record_success(at(millis));
    }
    assert_eq!(breaker.state(), CircuitStateClosed);
}

#[test]
fn failures_in_the_window_open_whatever_lies_between() {
    let mut breaker = Breaker::new(BreakerSettings { window: Duration::from_millis(60), ..SETTINGS });
    for millis in [0, 30] {
        assert_eq!(breaker.record_failure(at(millis)), None);
        breaker.record_success(at(millis));
    }
    // The first is out of the window by now.
    assert_eq!(breaker.record_failure(at(60)), None);
    assert_eq!(breaker.snapshot(at(60)), BreakerSnapshot::Closed { failures: 2 });
    assert_eq!(breaker.snapshot(at(90)), BreakerSnapshot::Closed { failures: 1 });
    let mut resumed = Breaker::resumed(breaker.settings(), breaker.snapshot(at(60)), at(1_000));
    assert_eq!(
        breaker.record_failure(at(89)),
        event(CircuitStateClosed, CircuitStateOpen, BreakerCause::Failures(3), 89)
    );
    assert!(resumed.record_failure(at(1_059)).is_some(), "what was counted goes on counting");
}

#[test]
fn closed_breaker_has_forgotten_its_window() {
    let mut breaker = Breaker::new(BreakerSettings { window: Duration::from_secs(60), ..SETTINGS });
    breaker.record_failure(at(0));
    breaker.record_failure(at(0));
    breaker.force(CircuitStateClosed, at(1)).unwrap();
    assert_eq!(breaker.record_failure(at(2)), None);
    assert_eq!(breaker.state(), CircuitStateClosed);
}

#[test]
fn open_breaker_ignores_late_outcomes() {
    let mut breaker = Breaker::new(SETTINGS);
    breaker.force(CircuitStateOpen, at(0)).unwrap();
    assert_eq!(breaker.record_success(at(5)), None);
    assert_eq!(breaker.record_failure(at(5)), None);
    assert_eq!(breaker.allow(at(9)).unwrap_err().retry_at, at(10));
}

#[test]
fn forced_state_follows_the_usual_rules() {
    let mut breaker = Breaker::new(SETTINGS);
    let forced = breaker.force(CircuitStateOpen, at(0)).ok();
    assert_eq!(forced, event(CircuitStateClosed, CircuitStateOpen, BreakerCause::Forced, 0));
    let forced = breaker.force(CircuitStateOpen, at(4)).ok();
    assert_eq!(forced, event(CircuitStateOpen, CircuitStateOpen, BreakerCause::Forced, 4));
    assert_eq!(breaker.allow(at(13)).unwrap_err().retry_at, at(14));
    assert!(breaker.allow(at(14)).is_ok());

    assert_eq!(breaker.force(CircuitStateUnknown, at(15)), Err(UnknownState));
    assert_eq!(breaker.state(), CircuitStateHalfOpen);
}

#[test]
fn threshold_of_zero_counts_as_one() {
    let settings = BreakerSettings { failure_threshold: 0, success_threshold: 0, ..SETTINGS };
    let mut breaker = Breaker::new(settings);
    assert!(breaker.record_failure(at(0)).is_some());
    assert!(breaker.allow(at(10)).is_ok());
    assert!(breaker.record_success(at(10)).is_some());
    assert_eq!(breaker.state(), CircuitStateClosed);
}

#[test]
fn resumed_open_breaker_waits_for_what_was_left() {
    let mut breaker = Breaker::new(SETTINGS);
    breaker.force(CircuitStateOpen, at(0)).unwrap();
    let stored = breaker.snapshot(at(7));
    assert_eq!(stored, BreakerSnapshot::Open { left: Duration::from_millis(3) });
    let text = serde_json::to_string(&stored).unwrap();
    let stored = serde_json::from_str(&text).unwrap();
    let mut resumed = Breaker::resumed(SETTINGS, stored, at(100));
    assert_eq!(resumed.allow(at(102)).unwrap_err().retry_at, at(103));
    assert!(resumed.allow(at(103)).is_ok());
}

#[test]
fn resumed_breaker_waits_no_longer_than_its_timeout() {
    let stored = BreakerSnapshot::Open { left: Duration::MAX };
    assert_eq!(Breaker::resumed(SETTINGS, stored, at(5)).peek(at(5)).unwrap_err().retry_at, at(15));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Allow,
    Success,
    Failure,
    Force(CircuitBreakerState),
}

fn step() -> impl Strategy<Value = Step> {
    let states = [CircuitStateUnknown, CircuitStateClosed, CircuitStateOpen, CircuitStateHalfOpen];
    prop_oneof![
        4 => (0..8_u64).prop_map(Step::Wait),
        6 => Just(Step::Allow),
        4 => Just(Step::Success),
        6 => Just(Step::Failure),
        1 => prop::sample::select(states.to_vec()).prop_map(Step::Force),
    ]
}

/// Remembers when the breaker entered its state, and everything recorded since.
struct Model {
    state: CircuitBreakerState,
    entered: u64,
    since: Vec<bool>,
}

impl Model {
    fn enter(&mut self, state: CircuitBreakerState, now: u64) {
        (self.state, self.entered) = (state, now);
        self.since.clear();
    }

    fn in_a_row(&self, outcome: bool) -> usize {
        self.since.iter().rev().take_while(|recorded| **recorded == outcome).count()
    }

    /// The next state's name after `step`, and whether the breaker lets the step through.
    fn apply(&mut self, step: Step, now: u64, settings: BreakerSettings) -> bool {
        let over = u128::from(now - self.entered) >= settings.timeout.as_millis();
        match step {
            Step::Wait(_) | Step::Force(CircuitStateUnknown) => {}
            Step::Force(state) => self.enter(state, now),
            Step::Allow if self.state == CircuitStateOpen && !over => return false,
            Step::Allow if self.state == CircuitStateOpen => self.enter(CircuitStateHalfOpen, now),
            Step::Allow => {}
            Step::Success => self.since.push(true),
            Step::Failure => self.since.push(false),
        }
        let failures = self.in_a_row(false);
        let successes = self.in_a_row(true);
        if self.state == CircuitStateClosed && failures >= settings.failure_threshold.max(1) as usize
            || self.state == CircuitStateHalfOpen && failures > 0
        {
            self.enter(CircuitStateOpen, now);
        } else if self.state == CircuitStateHalfOpen && successes >= settings.success_threshold.max(1) as usize {
            self.enter(CircuitStateClosed, now);
        }
        true
    }
}

proptest! {
    #[test]
    fn breaker_behaves_like_the_model(
        failure_threshold in 0..4_u32,
        success_threshold in 0..4_u32,
        timeout in 0..12_u64,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let timeout = Duration::from_millis(timeout);
        let settings = BreakerSettings { failure_threshold, timeout, success_threshold, window: Duration::ZERO };
        let mut breaker = Breaker::new(settings);
        let mut model = Model { state: CircuitStateClosed, entered: 0, since: Vec::new() };
        let mut now = 0;
        for step in steps {
            let before = breaker.state();
            prop_assert_eq!(breaker.peek(at(now)).err(), breaker.clone().allow(at(now)).err());
            let resumed = Breaker::resumed(settings, breaker.snapshot(at(now)), at(now));
            prop_assert_eq!(resumed.state(), before);
            // The end of a timeout that has run out already is not kept.
            prop_assert!(resumed == breaker || before == CircuitStateOpen && breaker.peek(at(now)).is_ok());
            let event = match step {
                Step::Wait(millis) => {
                    now += millis;
                    None
                }
                Step::Allow => match breaker.allow(at(now)) {
                    Ok(event) => {
                        prop_assert!(model.apply(step, now, settings));
                        event
                    }
                    Err(refused) => {
                        prop_assert!(!model.apply(step, now, settings));
                        prop_assert_eq!(refused.retry_at, at(model.entered).after(timeout));
                        None
                    }
                },
                Step::Success => breaker.record_success(at(now)),
                Step::Failure => breaker.record_failure(at(now)),
                Step::Force(state) => breaker.force(state, at(now)).ok(),
            };
            if !matches!(step, Step::Allow) {
                model.apply(step, now, settings);
            }
            prop_assert_eq!(breaker.state(), model.state);
            let trial = before == CircuitStateHalfOpen && matches!(step, Step::Success);
            let forced = matches!(step, Step::Force(state) if state != CircuitStateUnknown);
            prop_assert_eq!(event.is_some(), before != breaker.state() || trial || forced);
            if let Some(event) = event {
                prop_assert_eq!((event.from, event.to, event.at), (before, breaker.state(), at(now)));
            }
        }
    }
}
