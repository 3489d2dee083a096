//! The thresholds of a breaker, and of the monitor of kernels.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The thresholds of a breaker. As text (TOML, JSON) the times are `timeout_ms` and `window_ms`, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Failures that open the breaker: in a row, or within the window if there is one. Zero counts as one. Default 3: three
    /// isolation violations cull a seed.
    pub failure_threshold: u32,
    /// How long an open breaker refuses before it admits trials. Default 30 s, our choice: as long as the embargo of a
    /// culled seed, so that both end together.
    #[serde(rename = "timeout_ms", with = "milliseconds")]
    pub timeout: Duration,
    /// Successes in a row that close a half-open breaker. Zero counts as one. Default 2, our choice: one success may be luck.
    pub success_threshold: u32,
    /// How long a failure counts. With a window, a success between two failures forgives neither. Default zero: no window, so
    /// failures count only in a row.
    #[serde(rename = "window_ms", with = "milliseconds")]
    pub window: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failure_threshold: 3, timeout: Duration::from_secs(30), success_threshold: 2, window: Duration::ZERO }
    }
}

/// When a kernel is taken off a device's fused path: see [`CompileMonitor`](crate::CompileMonitor). As text the times are `limit_ms`
/// and `timeout_ms`, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompileMonitorSettings {
    /// How many executions of a kernel are watched, at most 100. 0 switches the monitor off. Default 3, our choice: the first compiles, in the
    /// second the fused code runs that the first has found, and the third shows what every later one is like.
    pub executions: u32,
    /// How long an execution may take, compilation included. Default 10 s, our choice: compiling a kernel takes a second or
    /// so on slow devices, and one that takes ten stalls the run each time a batch has another shape.
    #[serde(rename = "limit_ms", with = "milliseconds")]
    pub limit: Duration,
    /// How long a kernel stays on the plain path before a trial. Default 30 s, our choice: as the other breakers.
    #[serde(rename = "timeout_ms", with = "milliseconds")]
    pub timeout: Duration,
}

impl Default for CompileMonitorSettings {
    fn default() -> Self {
        Self { executions: 3, limit: Duration::from_secs(10), timeout: Duration::from_secs(30) }
    }
}

mod milliseconds {
    use super::{Deserialize, Duration};

    pub(super) fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        // TOML's integers end at i64::MAX.
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        serializer.serialize_i64(millis)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keys_take_defaults_and_settings_survive_text() {
        let settings: BreakerSettings = serde_json::from_str(r#"{"timeout_ms": 1500, "window_ms": 60000}"#).unwrap();
        let (timeout, window) = (Duration::from_millis(1_500), Duration::from_secs(60));
        assert_eq!(settings, BreakerSettings { timeout, window, ..Default::default() });
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<BreakerSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn unknown_keys_and_negative_times_are_refused() {
        assert!(serde_json::from_str::<BreakerSettings>(r#"{"timeout": 1500}"#).is_err());
        assert!(serde_json::from_str::<BreakerSettings>(r#"{"timeout_ms": -1}"#).is_err());
    }
}
