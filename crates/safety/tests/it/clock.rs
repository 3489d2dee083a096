//! The suite, run by every clock of this crate, and what each does besides.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kasmina_leyline::{Monotonic, UnixTime};
use kasmina_safety::{Clock, SystemClock, conformance::run, doubles::ManualClock};

#[test]
fn system_clock_conforms() {
    run(SystemClock::new);
}

#[test]
fn manual_clock_conforms() {
    run(ManualClock::default);
}

#[test]
fn manual_clock_conforms_while_it_is_moved() {
    run(|| Ticking(ManualClock::default()));
}

/// Advances with every reading.
struct Ticking(ManualClock);

impl Clock for Ticking {
    fn monotonic(&self) -> Monotonic {
        self.0.advance(Duration::from_nanos(1));
        self.0.monotonic()
    }

    fn unix(&self) -> UnixTime {
        self.0.unix()
    }
}

/// Goes back after 5,000 readings.
struct Backwards(AtomicU64);

impl Clock for Backwards {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.0.fetch_add(1, Ordering::SeqCst) % 5_000)
    }

    fn unix(&self) -> UnixTime {
        UnixTime::default()
    }
}

#[test]
#[should_panic(expected = "went back")]
fn clock_that_goes_back_does_not_conform() {
    run(|| Backwards(AtomicU64::new(0)));
}

#[test]
fn system_clock_starts_near_its_origin_and_copies_share_it() {
    let clock = SystemClock::new();
    let copy = clock;
    let readings = [clock.monotonic(), copy.monotonic(), clock.monotonic()];
    assert!(readings.is_sorted());
    assert!(readings[0].since(Monotonic::ORIGIN) < Duration::from_secs(60));
}

#[test]
fn system_wall_clock_is_past_the_year_2025() {
    assert!(SystemClock::new().unix() > UnixTime::from_millis(1_735_689_600_000));
}

#[test]
fn wall_clock_that_jumps_leaves_monotonic_time_alone() {
    let clock = ManualClock::default();
    let handle = clock.clone();
    handle.advance(Duration::from_secs(1));
    handle.set_unix(UnixTime::from_millis(-5_000));
    assert_eq!(clock.monotonic(), Monotonic::from_millis(1_000));
    assert_eq!(clock.unix(), UnixTime::from_millis(-5_000));
    handle.advance(Duration::from_secs(2));
    assert_eq!(clock.monotonic(), Monotonic::from_millis(3_000));
    assert_eq!(clock.unix(), UnixTime::from_millis(-3_000));
}
