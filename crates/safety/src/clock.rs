//! Where time comes from.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use kasmina_leyline::{Monotonic, UnixTime};

/// A source of both kinds of time.
///
/// Embargoes, timeouts and deadlines count [`monotonic`](Self::monotonic) time, which never goes back; only what is
/// compared with another machine's stamps uses [`unix`](Self::unix). A monotonic clock that runs fast ends embargoes
/// early; one that stands still ends none. A wall clock that is late lets stale commands in; one that is early refuses
/// honest ones.
///
/// No null clock stands beside this trait: no reading of a wall clock is safe for everyone who compares with it.
pub trait Clock: Send + Sync {
    /// The time since this clock's origin. Never less than an earlier reading of the same clock.
    fn monotonic(&self) -> Monotonic;

    /// The wall clock's reading. May jump either way.
    fn unix(&self) -> UnixTime;
}

impl<T: Clock + ?Sized> Clock for &T {
    fn monotonic(&self) -> Monotonic {
        (**self).monotonic()
    }

    fn unix(&self) -> UnixTime {
        (**self).unix()
    }
}

impl<T: Clock + ?Sized> Clock for Box<T> {
    fn monotonic(&self) -> Monotonic {
        (**self).monotonic()
    }

    fn unix(&self) -> UnixTime {
        (**self).unix()
    }
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn monotonic(&self) -> Monotonic {
        (**self).monotonic()
    }

    fn unix(&self) -> UnixTime {
        (**self).unix()
    }
}

/// The machine's clocks. Monotonic readings count from the clock's creation; copies share that origin.
///
/// On Linux the monotonic clock stands still while the machine is suspended, so an embargo outlasts a suspension.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is this moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::ORIGIN.after(self.origin.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    fn unix(&self) -> UnixTime {
        let epoch = UnixTime::default();
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => epoch.after(since),
            Err(before) => epoch.before(before.duration()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_system_clock_starts_near_its_origin_and_does_not_go_back() {
        let clock = SystemClock::new();
        let copy = clock;
        let readings = [clock.monotonic(), copy.monotonic(), clock.monotonic()];
        assert!(readings.is_sorted());
        assert!(readings[0].since(Monotonic::ORIGIN) < Duration::from_secs(60));
    }

    #[test]
    fn the_wall_clock_is_past_the_year_2025() {
        assert!(SystemClock::new().unix() > UnixTime::from_millis(1_735_689_600_000));
    }

    #[test]
    fn a_clock_can_be_handed_over_by_reference_box_or_arc() {
        fn reading(clock: impl Clock) -> Monotonic {
            clock.monotonic()
        }
        let clock = crate::doubles::ManualClock::default();
        clock.advance(Duration::from_secs(3));
        let boxed: Box<dyn Clock> = Box::new(clock.clone());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        assert_eq!(reading(&clock), Monotonic::from_millis(3_000));
        assert_eq!(reading(boxed), Monotonic::from_millis(3_000));
        assert_eq!(shared.unix(), clock.unix());
        assert_eq!(reading(shared), Monotonic::from_millis(3_000));
    }
}
