//! The clock trait and the machine's clock.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use kasmina_leyline::{Monotonic, UnixTime};

/// A source of both kinds of time.
///
/// Embargoes, timeouts and deadlines use [`monotonic`](Self::monotonic) time, which never goes back. Only what is compared
/// with another machine's timestamps uses [`unix`](Self::unix). A monotonic clock that runs fast ends embargoes early; one
/// that stands still ends none. A wall clock that is behind admits stale commands; one that is ahead refuses honest ones.
///
/// There is no null clock: no constant reading of a wall clock is safe for everyone who compares with it.
pub trait Clock: Send + Sync {
    /// The time since this clock's origin. Never less than an earlier reading of the same clock, on any thread.
    fn monotonic(&self) -> Monotonic;

    /// The wall clock's reading. It may jump forwards and backwards.
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

/// The machine's clocks. Monotonic readings count from the creation of the clock; copies share that origin.
///
/// On Linux the monotonic clock stops while the machine is suspended, so an embargo does not run out meanwhile.
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
