//! What every clock must do.

use std::{sync::Arc, thread};

use kasmina_leyline::Monotonic;

use crate::Clock;

const READINGS: usize = 1_000;

/// Runs the suite on the clocks that `build` makes:
///
/// - monotonic time never goes back, on one thread or between threads;
/// - a reference, a box and an `Arc` read the same clock;
/// - the wall clock can be read at any time.
///
/// # Panics
/// If the clock does not conform.
pub fn run<C: Clock + 'static>(build: impl Fn() -> C) {
    let clock = build();
    never_back(&clock, Monotonic::ORIGIN);
    let _ = clock.unix();

    let by_reference = never_back(&&clock, clock.monotonic());
    let boxed: Box<dyn Clock> = Box::new(clock);
    let by_box = never_back(&boxed, by_reference);
    let shared: Arc<dyn Clock> = Arc::from(boxed);
    let by_arc = never_back(&shared, by_box);
    let _ = shared.unix();

    let mut latest = by_arc;
    for _ in 0..10 {
        let other = Arc::clone(&shared);
        let elsewhere = thread::spawn(move || never_back(&other, latest)).join();
        assert!(elsewhere.is_ok(), "the clock went back on another thread");
        latest = never_back(&shared, elsewhere.unwrap_or(latest));
    }
}

fn never_back(clock: &impl Clock, after: Monotonic) -> Monotonic {
    (0..READINGS).fold(after, |before, _| {
        let now = clock.monotonic();
        assert!(now >= before, "monotonic time went back from {before:?} to {now:?}");
        now
    })
}
