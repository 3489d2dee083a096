//! Settings of a distillation.

use std::time::Duration;

use kasmina_memory::CacheLimits;
use kasmina_safety::BreakerSettings;
use serde::{Deserialize, Serialize};

use crate::DistillError;

/// How a student learns from a teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillSettings {
    /// The logits of both are divided by it before the softmax. Default 4.0, Esper's contract.
    pub temperature: f32,
    /// The share of the divergence in the loss, 0 to 1; the task's own loss has the rest. Default 0.3, Esper's contract.
    pub weight: f32,
    /// Whether the divergence is multiplied by the square of the temperature, so that its gradients do not become smaller as that grows
    /// (Hinton, Vinyals and Dean 2015, section 2). Default: no, because Esper's reference does not.
    pub temperature_squared: bool,
    /// The budget of cached logits and activations in bytes; 0 for no cache. Default 64 MiB, our choice: some 6,500 batches of 256 rows and
    /// ten classes.
    pub cache_bytes: u64,
    /// How long they are kept, in seconds. Default 3600, as for kernels.
    pub cache_ttl_seconds: u64,
    /// When the teacher is not asked any more. Default: 2 failures in 180 s, Esper's contract for memory; tried again after 180 s, and one
    /// success suffices, both our choice.
    pub breaker: BreakerSettings,
}

impl DistillSettings {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// [`DistillError::Setting`]: the temperature must be finite and above 0, and the weight from 0 to 1.
    pub fn check(&self) -> Result<(), DistillError> {
        let refuse = |key, value: f32, demand| DistillError::Setting { key, value: value.to_string(), demand };
        check_temperature(self.temperature)?;
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(refuse("weight", self.weight, "must be from 0 to 1"));
        }
        Ok(())
    }

    pub(crate) const fn cache(&self) -> CacheLimits {
        CacheLimits { bytes: self.cache_bytes, ttl: Duration::from_secs(self.cache_ttl_seconds) }
    }
}

/// A temperature must be finite and above 0.
pub(crate) fn check_temperature(temperature: f32) -> Result<(), DistillError> {
    if temperature.is_finite() && temperature > 0.0 {
        return Ok(());
    }
    let (value, demand) = (temperature.to_string(), "must be finite and above 0");
    Err(DistillError::Setting { key: "temperature", value, demand })
}

impl Default for DistillSettings {
    fn default() -> Self {
        let window = Duration::from_secs(180);
        Self {
            temperature: 4.0,
            weight: 0.3,
            temperature_squared: false,
            cache_bytes: 64 << 20,
            cache_ttl_seconds: 3600,
            breaker: BreakerSettings { failure_threshold: 2, window, timeout: window, success_threshold: 1 },
        }
    }
}
