//! Test doubles.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use kasmina_leyline::{Monotonic, UnixTime};

use crate::Clock;

/// A clock that stands still until its test moves it. Clones are handles on the same clock.
///
/// Starts at the monotonic origin and at the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    monotonic: Arc<AtomicU64>,
    unix: Arc<AtomicI64>,
}

impl ManualClock {
    /// Moves both clocks on by `by`, as time passing does.
    pub fn advance(&self, by: Duration) {
        let monotonic = self.monotonic().after(by);
        let unix = self.unix().after(by);
        self.monotonic.store(monotonic.as_nanos(), Ordering::SeqCst);
        self.unix.store(unix.as_nanos(), Ordering::SeqCst);
    }

    /// Lets the wall clock jump, either way. Monotonic time does not feel it.
    pub fn set_unix(&self, to: UnixTime) {
        self.unix.store(to.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.monotonic.load(Ordering::SeqCst))
    }

    fn unix(&self) -> UnixTime {
        UnixTime::from_nanos(self.unix.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_leaves_monotonic_time_alone() {
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
}
