//! Findings and verdicts.

use std::{collections::BTreeMap, fmt};

use kasmina_leyline::{SeedId, v1::SeedLifecycleGate};
use serde::Serialize;

use crate::stored;

/// A pass or a refusal, with the values that the gatekeeper looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Finding {
    pub(crate) reason: Option<&'static str>,
    pub(crate) attributes: BTreeMap<&'static str, String>,
}

impl Finding {
    /// The seed may make the move.
    pub const fn pass() -> Self {
        Self { reason: None, attributes: BTreeMap::new() }
    }

    /// The seed may not make the move. `reason` is machine-readable and stable.
    pub const fn refuse(reason: &'static str) -> Self {
        Self { reason: Some(reason), attributes: BTreeMap::new() }
    }

    /// Adds a value that was looked at.
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.attributes.insert(name, value.to_string());
        self
    }

    /// Whether the seed may make the move.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.reason.is_none()
    }

    /// Why the gate refused, or [`Verdict::PASSED`].
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.reason {
            None => Verdict::PASSED,
            Some(reason) => reason,
        }
    }

    /// The finding as a verdict of `gate` on `seed_id`, for a gate that is asked without a move to make.
    #[must_use]
    pub fn into_verdict(self, seed_id: &SeedId, gate: SeedLifecycleGate) -> Verdict {
        Verdict {
            seed_id: seed_id.clone(),
            gate,
            passed: self.passed(),
            reason: self.reason(),
            attributes: self.attributes,
        }
    }
}

/// A gate's verdict on a seed. It is a record: no move can be made with it, so it can be written but not read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Verdict {
    #[serde(with = "stored::seed_id")]
    pub seed_id: SeedId,
    #[serde(with = "stored::number")]
    pub gate: SeedLifecycleGate,
    pub passed: bool,
    /// Why the gate refused, machine-readable, or [`PASSED`](Self::PASSED).
    pub reason: &'static str,
    /// The values that were looked at.
    pub attributes: BTreeMap<&'static str, String>,
}

impl Verdict {
    /// The reason of a verdict that passes.
    pub const PASSED: &'static str = "passed";
}
