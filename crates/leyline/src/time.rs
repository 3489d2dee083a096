//! Time as a value.

use std::time::Duration;

use prost_types::Timestamp;
use serde::{Deserialize, Serialize};

/// A reading of a monotonic clock: the time since that clock's origin, in whole nanoseconds.
///
/// Compare two readings only if they come from the same clock. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The clock's origin.
    pub const ORIGIN: Self = Self(0);

    /// The reading `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The reading `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The reading `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this reading was taken; zero when it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of the wall clock: nanoseconds since 1970-01-01T00:00:00Z, negative before it.
///
/// Reaches from the year 1677 to 2262; readings outside saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The reading `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The reading `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The reading `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The reading `by` earlier.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this reading was taken; zero when it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for UnixTime {
    /// Saturates at the ends of the representable range.
    fn from(timestamp: Timestamp) -> Self {
        let nanos = i128::from(timestamp.seconds) * 1_000_000_000 + i128::from(timestamp.nanos);
        Self(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }
}

impl From<UnixTime> for Timestamp {
    fn from(time: UnixTime) -> Self {
        Self { seconds: time.0.div_euclid(1_000_000_000), nanos: time.0.rem_euclid(1_000_000_000) as i32 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unix_time_survives_the_wire(nanos: i64) {
            let time = UnixTime::from_nanos(nanos);
            prop_assert_eq!(UnixTime::from(Timestamp::from(time)), time);
        }

        #[test]
        fn any_timestamp_has_a_reading(seconds: i64, nanos: i32) {
            let time = UnixTime::from(Timestamp { seconds, nanos });
            prop_assert_eq!(time.as_nanos() < 0, i128::from(seconds) * 1_000_000_000 + i128::from(nanos) < 0);
        }

        #[test]
        fn after_and_since_are_inverse(start in 0_u64..u64::MAX / 2, by in 0_u64..u64::MAX / 2) {
            let by = Duration::from_nanos(by);
            let start = Monotonic::from_nanos(start);
            prop_assert_eq!(start.after(by).since(start), by);
            prop_assert_eq!(start.since(start.after(by)), Duration::ZERO);
        }
    }
}
