//! One side of a row: something that can be done many times, and says how long that took.

use std::{hint::black_box, time::Duration};

use kasmina_safety::Clock;

/// What is measured, with what it needs around it.
pub struct Side<'a>(Sample<'a>);

/// Runs so many times, and says what that took by the clock.
type Sample<'a> = Box<dyn FnMut(u64, &dyn Clock) -> Duration + 'a>;

impl<'a> Side<'a> {
    /// Something that needs no preparation. All its runs of a sample are timed together, so it may take nanoseconds.
    pub fn repeat<R>(mut act: impl FnMut() -> R + 'a) -> Self {
        Self::prepared(|_| (), move |(), count| (0..count).for_each(|_| drop(black_box(act()))))
    }

    /// Something that a sample is prepared for: `prepare` gets the number of runs, `act` what it made, and both are told how often to run.
    /// Only `act` is timed, and what was prepared is dropped afterwards.
    pub fn prepared<T>(mut prepare: impl FnMut(u64) -> T + 'a, mut act: impl FnMut(&mut T, u64) + 'a) -> Self {
        Self::on((), move |(), count| prepare(count), move |(), prepared, count| act(prepared, count))
    }

    /// The same, where both work on something that stays.
    pub fn on<S: 'a, T>(
        mut state: S,
        mut prepare: impl FnMut(&mut S, u64) -> T + 'a,
        mut act: impl FnMut(&mut S, &mut T, u64) + 'a,
    ) -> Self {
        Self(Box::new(move |count, clock| {
            let mut prepared = prepare(&mut state, count);
            let started = clock.monotonic();
            act(&mut state, &mut prepared, count);
            clock.monotonic().since(started)
        }))
    }

    /// Something that each run is prepared for. Each is timed by itself, so it should take microseconds.
    pub fn each<T, R>(mut prepare: impl FnMut() -> T + 'a, mut act: impl FnMut(T) -> R + 'a) -> Self {
        Self(Box::new(move |count, clock| {
            let one = |_| {
                let prepared = black_box(prepare());
                let started = clock.monotonic();
                let result = act(prepared);
                let took = clock.monotonic().since(started);
                drop(black_box(result));
                took
            };
            (0..count).map(one).sum()
        }))
    }

    /// An action that times itself: it gets the number of runs and returns how long they took.
    pub fn timed(mut act: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self(Box::new(move |count, _| act(count)))
    }

    pub(crate) fn run(&mut self, count: u64, clock: &dyn Clock) -> Duration {
        (self.0)(count, clock)
    }
}
