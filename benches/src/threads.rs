//! Threads that do something at the same time.

use std::{panic::resume_unwind, sync::Barrier, thread};

use kasmina::{
    leyline::Monotonic,
    safety::{Clock, SystemClock},
};

/// From the moment at which the first of some threads begins until the last has ended.
pub(crate) struct Span {
    pub(crate) first: Monotonic,
    pub(crate) last: Monotonic,
}

/// A thread for each state. Each prepares, waits until all have, and acts: only that is within the span. The threads read the clock themselves,
/// because they may be half done before the thread that started them runs again.
pub(crate) fn at_once<S: Send, P>(
    clock: SystemClock,
    states: impl ExactSizeIterator<Item = S>,
    prepare: impl Fn(&mut S) -> P + Sync,
    act: impl Fn(&mut S, P) + Sync,
) -> Span {
    let barrier = Barrier::new(states.len());
    let one = |mut state: S| {
        let prepared = prepare(&mut state);
        barrier.wait();
        let first = clock.monotonic();
        act(&mut state, prepared);
        Span { first, last: clock.monotonic() }
    };
    let one = &one;
    let spans: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = states.map(|state| scope.spawn(move || one(state))).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let both = |span: Span, next: Span| Span { first: span.first.min(next.first), last: span.last.max(next.last) };
    spans.into_iter().reduce(both).expect("a thread")
}
