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

/// A clock that stands still until a test moves it. Clones are handles of the same clock.
///
/// It starts at the monotonic origin and at the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    monotonic: Arc<AtomicU64>,
    unix: Arc<AtomicI64>,
}

impl ManualClock {
    /// Advances both clocks by `by`.
    pub fn advance(&self, by: Duration) {
        let monotonic = self.monotonic().after(by);
        let unix = self.unix().after(by);
        self.monotonic.store(monotonic.as_nanos(), Ordering::SeqCst);
        self.unix.store(unix.as_nanos(), Ordering::SeqCst);
    }

    /// Sets the wall clock, forwards or backwards. Monotonic time stays the same.
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
