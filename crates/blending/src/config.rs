//! How a seed is blended, and how a command says so.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::BlendRefusal;
use crate::gate::Gate;

/// The way in which host and seed are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlendMode {
    /// `(1 - a) host + a seed`.
    #[default]
    Convex,
    /// `host + a seed`.
    Residual,
    /// CONVEX with `a v[c]` for channel c.
    Channel,
    /// CONVEX with an alpha for each sample, scaled by how sure the logits are.
    Confidence,
}

impl BlendMode {
    /// Its name in annotations and telemetry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Convex => "CONVEX",
            Self::Residual => "RESIDUAL",
            Self::Channel => "CHANNEL",
            Self::Confidence => "CONFIDENCE",
        }
    }

    /// The mode of that name in any case.
    fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        [Self::Convex, Self::Residual, Self::Channel, Self::Confidence]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for BlendMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mode with everything it needs. One that exists is valid; the default is CONVEX.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlendConfig {
    pub(crate) recipe: Recipe,
    source: Option<String>,
}

/// What each mode needs, and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Recipe {
    #[default]
    Convex,
    Residual,
    /// One entry in [0, 1] for each channel, at least one.
    Channel(Vec<f32>),
    Confidence(Gate),
}

impl BlendConfig {
    /// How many entries `alpha_vec` may have unless configured. Source: Esper's contract.
    pub const DEFAULT_MAX_ALPHA_VEC: usize = 64;
    /// `gate_k` where none is given. Our choice: from tau, a margin of 1 more takes the gate from 0.5 to 0.98.
    pub const DEFAULT_GATE_K: f32 = 4.0;
    /// `gate_tau` where none is given. Our choice: the gate is half open where the logits are a 55:45 tie of two classes.
    pub const DEFAULT_GATE_TAU: f32 = 0.2;

    /// `(1 - a) host + a seed`.
    #[must_use]
    pub const fn convex() -> Self {
        Self { recipe: Recipe::Convex, source: None }
    }

    /// `host + a seed`.
    #[must_use]
    pub const fn residual() -> Self {
        Self { recipe: Recipe::Residual, source: None }
    }

    /// `(1 - a v[c]) host + a v[c] seed` for channel c. Its length must be the number of channels of what is blended.
    ///
    /// # Errors
    /// [`BlendRefusal::AlphaVecEmpty`]; [`BlendRefusal::AlphaVecEntry`] for the first entry that is not in [0, 1].
    pub fn channel(alpha_vec: Vec<f32>) -> Result<Self, BlendRefusal> {
        check_alpha_vec(&alpha_vec)?;
        Ok(Self { recipe: Recipe::Channel(alpha_vec), source: None })
    }

    /// CONVEX with `clamp(a sigmoid(k (top1 - top2 - tau)), lo, hi)` for each sample, top1 and top2 being its two largest
    /// logits. `k` (per unit of logit) and `tau` (in units of logit) are finite and at least 0; `lo` and `hi` lie in [0, 1] and
    /// are swapped where `lo` is the larger.
    ///
    /// A `lo` above 0 keeps part of the seed in the blend even at alpha 0.
    ///
    /// # Errors
    /// [`BlendRefusal::OutOfRange`] for the first that is not.
    pub fn confidence(k: f32, tau: f32, lo: f32, hi: f32) -> Result<Self, BlendRefusal> {
        for (name, got) in [("gate_k", k), ("gate_tau", tau)] {
            if !(got.is_finite() && got >= 0.0) {
                return Err(BlendRefusal::OutOfRange { name, expected: "finite and at least 0", got });
            }
        }
        for (name, got) in [("alpha_lo", lo), ("alpha_hi", hi)] {
            if !(0.0..=1.0).contains(&got) {
                return Err(BlendRefusal::OutOfRange { name, expected: "in [0, 1]", got });
            }
        }
        Ok(Self { recipe: Recipe::Confidence(Gate { k, tau, lo: lo.min(hi), hi: lo.max(hi) }), source: None })
    }

    /// The mode.
    #[must_use]
    pub const fn mode(&self) -> BlendMode {
        match self.recipe {
            Recipe::Convex => BlendMode::Convex,
            Recipe::Residual => BlendMode::Residual,
            Recipe::Channel(_) => BlendMode::Channel,
            Recipe::Confidence(_) => BlendMode::Confidence,
        }
    }

    /// Who chose it (annotation `blend_mode_source`), for telemetry alone.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The factors of CHANNEL, one for each channel.
    #[must_use]
    pub fn alpha_vec(&self) -> Option<&[f32]> {
        match &self.recipe {
            Recipe::Channel(alpha_vec) => Some(alpha_vec),
            Recipe::Convex | Recipe::Residual | Recipe::Confidence(_) => None,
        }
    }

    /// Reads the settings of a command.
    ///
    /// | annotation | value | absent |
    /// |---|---|---|
    /// | `blend_mode` | a [`BlendMode`] in any case | CONVEX |
    /// | `blend_mode_source` | any text | none |
    /// | `gate_k`, `gate_tau` | finite, at least 0 | 4 and 0.2 |
    /// | `alpha_lo`, `alpha_hi` | in [0, 1], swapped if inverted | 0 and 1 |
    /// | `alpha_vec` | a JSON list, or comma-separated; 1 to `max_alpha_vec` numbers in [0, 1] | CHANNEL is refused |
    /// | `alpha_vec_len` | the number of entries | not compared |
    ///
    /// Every annotation that is there must be valid, whether or not the mode uses it: a sender that gets one wrong may have
    /// got the mode wrong. Space around a value does not count.
    ///
    /// # Errors
    /// The first annotation that is not as the table says.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
        max_alpha_vec: usize,
    ) -> Result<Self, BlendRefusal> {
        let mode = match annotations.get("blend_mode") {
            None => BlendMode::default(),
            Some(name) => BlendMode::named(name).ok_or_else(|| BlendRefusal::UnknownMode { got: name.clone() })?,
        };
        let gate = Self::confidence(
            number(annotations, "gate_k", "a number")?.unwrap_or(Self::DEFAULT_GATE_K),
            number(annotations, "gate_tau", "a number")?.unwrap_or(Self::DEFAULT_GATE_TAU),
            number(annotations, "alpha_lo", "a number")?.unwrap_or(0.0),
            number(annotations, "alpha_hi", "a number")?.unwrap_or(1.0),
        )?;
        let alpha_vec = annotations.get("alpha_vec").map(|text| read_alpha_vec(text, max_alpha_vec)).transpose()?;
        if let Some(expected) = number::<usize>(annotations, "alpha_vec_len", "a whole number")? {
            let got = alpha_vec.as_ref().map_or(0, Vec::len);
            if expected != got {
                return Err(BlendRefusal::AlphaVecLength { expected, got });
            }
        }
        let config = match mode {
            BlendMode::Convex => Self::convex(),
            BlendMode::Residual => Self::residual(),
            BlendMode::Channel => Self::channel(alpha_vec.ok_or(BlendRefusal::AlphaVecMissing)?)?,
            BlendMode::Confidence => gate,
        };
        Ok(Self { source: annotations.get("blend_mode_source").cloned(), ..config })
    }

    /// The annotations that [`from_annotations`](Self::from_annotations) reads as this configuration, with every number as it is.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut said = vec![("blend_mode", self.mode().as_str().to_owned())];
        said.extend(self.source.iter().map(|source| ("blend_mode_source", source.clone())));
        match &self.recipe {
            Recipe::Convex | Recipe::Residual => {}
            Recipe::Channel(alpha_vec) => {
                let entries: Vec<_> = alpha_vec.iter().map(f32::to_string).collect();
                said.push(("alpha_vec", entries.join(",")));
            }
            Recipe::Confidence(Gate { k, tau, lo, hi }) => {
                said.extend(
                    [("gate_k", k), ("gate_tau", tau), ("alpha_lo", lo), ("alpha_hi", hi)]
                        .map(|(name, value)| (name, value.to_string())),
                );
            }
        }
        said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn number<T: FromStr>(
    annotations: &BTreeMap<String, String>,
    name: &'static str,
    expected: &'static str,
) -> Result<Option<T>, BlendRefusal> {
    annotations
        .get(name)
        .map(|text| text.trim().parse().map_err(|_| BlendRefusal::NotANumber { name, expected, got: text.clone() }))
        .transpose()
}

fn read_alpha_vec(text: &str, max: usize) -> Result<Vec<f32>, BlendRefusal> {
    let text = text.trim();
    let malformed = |detail: String| BlendRefusal::AlphaVecMalformed { detail };
    let alpha_vec = if text.is_empty() {
        Vec::new()
    } else if text.starts_with('[') {
        serde_json::from_str::<Vec<f32>>(text).map_err(|error| malformed(error.to_string()))?
    } else {
        let entries = text.split(',').enumerate();
        entries
            .map(|(index, entry)| entry.trim().parse().map_err(|error| malformed(format!("entry {index}: {error}"))))
            .collect::<Result<_, _>>()?
    };
    if alpha_vec.len() > max {
        return Err(BlendRefusal::AlphaVecTooLong { max, got: alpha_vec.len() });
    }
    check_alpha_vec(&alpha_vec)?;
    Ok(alpha_vec)
}

fn check_alpha_vec(alpha_vec: &[f32]) -> Result<(), BlendRefusal> {
    if alpha_vec.is_empty() {
        return Err(BlendRefusal::AlphaVecEmpty);
    }
    let invalid = alpha_vec.iter().enumerate().find(|(_, entry)| !(0.0..=1.0).contains(*entry));
    invalid.map_or(Ok(()), |(index, &got)| Err(BlendRefusal::AlphaVecEntry { index, got }))
}
