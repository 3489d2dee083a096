//! How alpha rises, step by step.

use std::collections::BTreeMap;
use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use crate::{Alpha, BlendRefusal};

/// The parameter with the number of batches over which alpha rises.
pub const TOTAL_STEPS: &str = "alpha_total_steps";
/// The parameter with the temperature of the sigmoid.
pub const TEMPERATURE: &str = "alpha_temperature";
/// The annotation that names the [`AlphaSchedule`].
pub const SCHEDULE: &str = "alpha_schedule";

/// Alpha as a function of the batches since BLENDING began.
///
/// Every schedule never falls, is exactly [`Alpha::ZERO`] at step 0 and exactly [`Alpha::ONE`] from `total_steps` on. A
/// `total_steps` of 0 counts as 1, so that step 0 is always only the host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AlphaSchedule {
    /// Slow, fast, slow: the logistic function between -6 and 6, divided by `temperature` and rescaled so that it reaches 0 and 1.
    /// (The range is our choice: at temperature 1 the ends without rescaling are 0.25 % away from 0 and 1.)
    Sigmoid {
        /// Batches from alpha 0 to alpha 1.
        total_steps: u64,
        /// Higher is flatter (towards [`Linear`](Self::Linear)), lower is steeper. Anything but a finite number above 0 counts as
        /// [`DEFAULT_TEMPERATURE`](Self::DEFAULT_TEMPERATURE).
        temperature: f32,
    },
    /// By the same amount in each step.
    Linear {
        /// Batches from alpha 0 to alpha 1.
        total_steps: u64,
    },
    /// Slow, fast, slow: half a cosine wave.
    Cosine {
        /// Batches from alpha 0 to alpha 1.
        total_steps: u64,
    },
}

impl AlphaSchedule {
    /// The temperature if none is given. Our choice: the plain logistic function.
    pub const DEFAULT_TEMPERATURE: f32 = 1.0;
    /// The largest `alpha_total_steps` that a command may ask for: 2^24, up to which an `f32` holds every whole number.
    pub const MAX_TOTAL_STEPS: u64 = 1 << 24;
    /// Half the width of the logistic function that [`Sigmoid`](Self::Sigmoid) uses at temperature 1.
    const SIGMOID_REACH: f64 = 6.0;

    /// The name in the annotation [`SCHEDULE`].
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Sigmoid { .. } => "sigmoid",
            Self::Linear { .. } => "linear",
            Self::Cosine { .. } => "cosine",
        }
    }

    /// Batches from alpha 0 to alpha 1, as given.
    #[must_use]
    pub const fn total_steps(&self) -> u64 {
        match self {
            Self::Sigmoid { total_steps, .. } | Self::Linear { total_steps } | Self::Cosine { total_steps } => {
                *total_steps
            }
        }
    }

    /// Alpha after `step` batches.
    #[must_use]
    pub fn at(&self, step: u64) -> Alpha {
        let total_steps = self.total_steps();
        if step == 0 {
            return Alpha::ZERO;
        }
        if step >= total_steps {
            return Alpha::ONE;
        }
        let progress = step as f64 / total_steps as f64;
        Alpha::nearest(match *self {
            Self::Linear { .. } => progress,
            Self::Cosine { .. } => (progress * FRAC_PI_2).sin().powi(2),
            Self::Sigmoid { temperature, .. } => {
                let usable = temperature.is_finite() && temperature > 0.0;
                let temperature = if usable { temperature } else { Self::DEFAULT_TEMPERATURE };
                // The rescaled logistic function, written with tanh so that it stays exact when it is nearly linear.
                let reach = Self::SIGMOID_REACH / 2.0 / f64::from(temperature);
                0.5 + 0.5 * ((2.0 * progress - 1.0) * reach).tanh() / reach.tanh()
            }
        })
    }

    /// Reads the schedule of a command: parameters `alpha_total_steps` (whole, 1 to 2^24; absent: `default_total_steps`)
    /// and `alpha_temperature` (finite, above 0; absent: 1), annotation `alpha_schedule` (`sigmoid`, `linear` or `cosine` in
    /// any case; absent: sigmoid).
    ///
    /// # Errors
    /// [`BlendRefusal::OutOfRange`] for either parameter, whatever the schedule; [`BlendRefusal::UnknownSchedule`].
    pub fn from_command(
        parameters: &BTreeMap<String, f32>,
        annotations: &BTreeMap<String, String>,
        default_total_steps: u64,
    ) -> Result<Self, BlendRefusal> {
        let total_steps = match parameters.get(TOTAL_STEPS) {
            None => default_total_steps,
            Some(&steps) if steps.fract() == 0.0 && (1.0..=Self::MAX_TOTAL_STEPS as f32).contains(&steps) => {
                steps as u64
            }
            Some(&got) => {
                return Err(BlendRefusal::OutOfRange {
                    name: TOTAL_STEPS,
                    expected: "a whole number from 1 to 2^24",
                    got,
                });
            }
        };
        let temperature = match parameters.get(TEMPERATURE) {
            None => Self::DEFAULT_TEMPERATURE,
            Some(&temperature) if temperature.is_finite() && temperature > 0.0 => temperature,
            Some(&got) => {
                return Err(BlendRefusal::OutOfRange { name: TEMPERATURE, expected: "finite and above 0", got });
            }
        };
        let Some(name) = annotations.get(SCHEDULE) else {
            return Ok(Self::Sigmoid { total_steps, temperature });
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "sigmoid" => Ok(Self::Sigmoid { total_steps, temperature }),
            "linear" => Ok(Self::Linear { total_steps }),
            "cosine" => Ok(Self::Cosine { total_steps }),
            _ => Err(BlendRefusal::UnknownSchedule { got: name.clone() }),
        }
    }
}
