//! Waiting that ends.

use std::time::Duration;

use kasmina::{
    leyline::Monotonic,
    safety::{Clock, SystemClock},
};

/// Nothing that is waited for takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Ends a wait for something that does not come: a row that waits for ever takes all others with it.
pub(crate) struct Patience {
    clock: SystemClock,
    since: Monotonic,
}

impl Patience {
    pub(crate) fn new() -> Self {
        let clock = SystemClock::new();
        Self { clock, since: clock.monotonic() }
    }

    /// Says after each look whether something has come. Panics, which fails the row, if nothing has for a minute.
    pub(crate) fn looked(&mut self, has_come: bool) {
        let now = self.clock.monotonic();
        if has_come {
            self.since = now;
        }
        assert!(now.since(self.since) < LONG, "nothing has come for a minute");
    }
}
