//! The thresholds of a breaker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The thresholds of a breaker. As text (TOML, JSON) the timeout is `timeout_ms`, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Failures in a row that open the breaker. Zero counts as one. Default 3: three isolation violations cull a seed.
    pub failure_threshold: u32,
    /// How long an open breaker refuses before it admits trials. Default 30 s, our choice: as long as the embargo of a
    /// culled seed, so that both end together.
    #[serde(rename = "timeout_ms", with = "milliseconds")]
    pub timeout: Duration,
    /// Successes in a row that close a half-open breaker. Zero counts as one. Default 2, our choice: one success may be luck.
    pub success_threshold: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failure_threshold: 3, timeout: Duration::from_secs(30), success_threshold: 2 }
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
        let settings: BreakerSettings = serde_json::from_str(r#"{"timeout_ms": 1500}"#).unwrap();
        assert_eq!(settings, BreakerSettings { timeout: Duration::from_millis(1_500), ..Default::default() });
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<BreakerSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn unknown_keys_and_negative_times_are_refused() {
        assert!(serde_json::from_str::<BreakerSettings>(r#"{"timeout": 1500}"#).is_err());
        assert!(serde_json::from_str::<BreakerSettings>(r#"{"timeout_ms": -1}"#).is_err());
    }
}
