//! The blend in a command: a field of its own, or annotations.

use std::collections::BTreeMap;
use std::str::FromStr;

use kasmina_leyline::v1;

use crate::config::{Recipe, check_alpha_vec};
use crate::gate::Gate;
use crate::{BlendConfig, BlendMode, BlendRefusal};

/// The annotation that names the [`BlendMode`].
pub const MODE: &str = "blend_mode";
/// The annotation that says who chose the mode.
pub const SOURCE: &str = "blend_mode_source";
/// The annotation with the slope of CONFIDENCE's gate.
pub const GATE_K: &str = "gate_k";
/// The annotation with the threshold of CONFIDENCE's gate.
pub const GATE_TAU: &str = "gate_tau";
/// The annotation with the least alpha of CONFIDENCE.
pub const ALPHA_LO: &str = "alpha_lo";
/// The annotation with the largest alpha of CONFIDENCE.
pub const ALPHA_HI: &str = "alpha_hi";
/// The annotation with CHANNEL's factors.
pub const ALPHA_VEC: &str = "alpha_vec";
/// The annotation that repeats the number of CHANNEL's factors.
pub const ALPHA_VEC_LEN: &str = "alpha_vec_len";

/// The annotations that describe the blend. [`SOURCE`] is not one of them: it is for telemetry.
const DESCRIBING: [&str; 7] = [MODE, GATE_K, GATE_TAU, ALPHA_LO, ALPHA_HI, ALPHA_VEC, ALPHA_VEC_LEN];

/// A command whose blend annotations differ from its typed field. The field wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The annotations that differ, by name.
    pub annotations: Vec<&'static str>,
    /// The mode of the typed field, which is used.
    pub used: BlendMode,
}

impl BlendConfig {
    /// Reads the blend of a command from its typed field, or without one from its annotations (see
    /// [`from_annotations`](Self::from_annotations)). If a command has both, they are compared and a difference is returned as a
    /// [`Conflict`]. If the field has no source, it is taken from the annotations.
    ///
    /// # Errors
    /// [`BlendRefusal`] for the first field that is out of its range; without a typed field, for the first annotation.
    pub fn read(
        typed: Option<&v1::BlendConfig>,
        annotations: &BTreeMap<String, String>,
        max_alpha_vec: usize,
    ) -> Result<(Self, Option<Conflict>), BlendRefusal> {
        let Some(typed) = typed else {
            return Self::from_annotations(annotations, max_alpha_vec).map(|config| (config, None));
        };
        let mut config = Self::from_typed(typed, max_alpha_vec)?;
        let conflict = config.conflict(annotations, max_alpha_vec);
        config.source = config.source.or_else(|| annotations.get(SOURCE).cloned());
        Ok((config, conflict))
    }

    /// Reads the typed field of a command.
    ///
    /// # Errors
    /// [`BlendRefusal`] for the first field that is out of its range, even if the mode does not use it. UNSPECIFIED is not a mode.
    pub fn from_typed(typed: &v1::BlendConfig, max_alpha_vec: usize) -> Result<Self, BlendRefusal> {
        let unknown = |got: String| BlendRefusal::UnknownMode { got };
        let mode = v1::BlendMode::try_from(typed.mode).map_err(|_| unknown(typed.mode.to_string()))?;
        let gate = Self::confidence(
            typed.gate_k.unwrap_or(Self::DEFAULT_GATE_K),
            typed.gate_tau.unwrap_or(Self::DEFAULT_GATE_TAU),
            typed.alpha_lo.unwrap_or(0.0),
            typed.alpha_hi.unwrap_or(1.0),
        )?;
        let alpha_vec = (!typed.alpha_vec.is_empty()).then(|| typed.alpha_vec.clone());
        if let Some(alpha_vec) = &alpha_vec {
            limited(alpha_vec, max_alpha_vec)?;
        }
        let config = match mode {
            v1::BlendMode::Unspecified => return Err(unknown(mode.as_str_name().to_owned())),
            v1::BlendMode::Convex => Self::convex(),
            v1::BlendMode::Residual => Self::residual(),
            v1::BlendMode::Channel => Self::channel(alpha_vec.ok_or(BlendRefusal::AlphaVecMissing)?)?,
            v1::BlendMode::Confidence => gate,
        };
        Ok(Self { source: typed.source.clone(), ..config })
    }

    /// The typed field that [`from_typed`](Self::from_typed) reads as this configuration.
    #[must_use]
    pub fn to_typed(&self) -> v1::BlendConfig {
        let plain = |mode| v1::BlendConfig { mode: i32::from(mode), source: self.source.clone(), ..Default::default() };
        match &self.recipe {
            Recipe::Convex => plain(v1::BlendMode::Convex),
            Recipe::Residual => plain(v1::BlendMode::Residual),
            Recipe::Channel(alpha_vec) => {
                v1::BlendConfig { alpha_vec: alpha_vec.clone(), ..plain(v1::BlendMode::Channel) }
            }
            Recipe::Confidence(Gate { k, tau, lo, hi }) => v1::BlendConfig {
                gate_k: Some(*k),
                gate_tau: Some(*tau),
                alpha_lo: Some(*lo),
                alpha_hi: Some(*hi),
                ..plain(v1::BlendMode::Confidence)
            },
        }
    }

    /// The annotations that ask for another blend than this.
    fn conflict(&self, annotations: &BTreeMap<String, String>, max_alpha_vec: usize) -> Option<Conflict> {
        // An absent annotation agrees with the field.
        let differ = |names: &[&'static str]| {
            let mut both = self.annotations();
            both.extend(names.iter().filter_map(|name| Some(((*name).to_owned(), annotations.get(*name)?.clone()))));
            Self::from_annotations(&both, max_alpha_vec).map_or(true, |other| other.recipe != self.recipe)
        };
        let given: Vec<_> = DESCRIBING.into_iter().filter(|name| annotations.contains_key(*name)).collect();
        if !differ(&given) {
            return None;
        }
        let alone: Vec<_> = given.iter().copied().filter(|name| differ(&[name])).collect();
        Some(Conflict { annotations: if alone.is_empty() { given } else { alone }, used: self.mode() })
    }

    /// Reads the blend from a command's annotations.
    ///
    /// | annotation | value | if absent |
    /// |---|---|---|
    /// | `blend_mode` | a [`BlendMode`] in any case | CONVEX |
    /// | `blend_mode_source` | any text | none |
    /// | `gate_k`, `gate_tau` | finite, at least 0 | 4 and 0.2 |
    /// | `alpha_lo`, `alpha_hi` | in [0, 1], swapped if inverted | 0 and 1 |
    /// | `alpha_vec` | a JSON list, or comma-separated; 1 to `max_alpha_vec` numbers in [0, 1] | CHANNEL is refused |
    /// | `alpha_vec_len` | the number of entries | not compared |
    ///
    /// Every annotation must be valid, even if the mode does not use it: a sender that gets one wrong may have got the mode wrong.
    /// Space around a value does not count.
    ///
    /// # Errors
    /// [`BlendRefusal`] for the first annotation that is not valid.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
        max_alpha_vec: usize,
    ) -> Result<Self, BlendRefusal> {
        let mode = match annotations.get(MODE) {
            None => BlendMode::default(),
            Some(name) => BlendMode::named(name).ok_or_else(|| BlendRefusal::UnknownMode { got: name.clone() })?,
        };
        let gate = Self::confidence(
            number(annotations, GATE_K, "a number")?.unwrap_or(Self::DEFAULT_GATE_K),
            number(annotations, GATE_TAU, "a number")?.unwrap_or(Self::DEFAULT_GATE_TAU),
            number(annotations, ALPHA_LO, "a number")?.unwrap_or(0.0),
            number(annotations, ALPHA_HI, "a number")?.unwrap_or(1.0),
        )?;
        let alpha_vec = annotations.get(ALPHA_VEC).map(|text| read_alpha_vec(text, max_alpha_vec)).transpose()?;
        if let Some(expected) = number::<usize>(annotations, ALPHA_VEC_LEN, "a whole number")? {
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
        Ok(Self { source: annotations.get(SOURCE).cloned(), ..config })
    }

    /// The annotations that [`from_annotations`](Self::from_annotations) reads as exactly this configuration.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut said = vec![(MODE, self.mode().as_str().to_owned())];
        said.extend(self.source.iter().map(|source| (SOURCE, source.clone())));
        match &self.recipe {
            Recipe::Convex | Recipe::Residual => {}
            Recipe::Channel(alpha_vec) => {
                let entries: Vec<_> = alpha_vec.iter().map(f32::to_string).collect();
                said.push((ALPHA_VEC, entries.join(",")));
            }
            Recipe::Confidence(Gate { k, tau, lo, hi }) => {
                said.extend(
                    [(GATE_K, k), (GATE_TAU, tau), (ALPHA_LO, lo), (ALPHA_HI, hi)]
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
    limited(&alpha_vec, max)?;
    Ok(alpha_vec)
}

/// Checks `alpha_vec`, in every mode.
fn limited(alpha_vec: &[f32], max: usize) -> Result<(), BlendRefusal> {
    if alpha_vec.len() > max {
        return Err(BlendRefusal::AlphaVecTooLong { max, got: alpha_vec.len() });
    }
    check_alpha_vec(alpha_vec)
}
