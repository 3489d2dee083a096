//! Findings and verdicts: pass, refuse, postpone.

use std::fmt;

use kasmina_leyline::{SeedId, v1::SeedLifecycleGate};
use serde::Serialize;

use crate::{Attributes, stored};

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The seed may make the move.
    Passed,
    /// The seed may not make the move, and the evidence speaks against it.
    Refused,
    /// The seed may not make the move yet, and nothing speaks against it: too little is known, or what is wrong is not the
    /// seed's fault.
    Postponed,
}

/// A pass, a refusal or a postponement, with the values that the gatekeeper looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Finding {
    pub(crate) outcome: Outcome,
    pub(crate) reason: &'static str,
    pub(crate) attributes: Attributes,
}

impl Finding {
    /// The seed may make the move.
    pub fn pass() -> Self {
        Self { outcome: Outcome::Passed, reason: Verdict::PASSED, attributes: Attributes::default() }
    }

    /// The seed may not make the move. `reason` is machine-readable and stable.
    pub fn refuse(reason: &'static str) -> Self {
        Self { outcome: Outcome::Refused, reason, attributes: Attributes::default() }
    }

    /// The seed may not make the move yet; asking again later can help. `reason` is machine-readable and stable.
    pub fn postpone(reason: &'static str) -> Self {
        Self { outcome: Outcome::Postponed, reason, attributes: Attributes::default() }
    }

    /// Adds a value that was looked at.
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.attributes.insert(name, value);
        self
    }

    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the seed may make the move.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Passed)
    }

    /// Why the gate refused or postponed, or [`Verdict::PASSED`].
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// The finding as a verdict of `gate` on `seed_id`, for a gate that is asked without a move to make.
    #[must_use]
    pub fn into_verdict(self, seed_id: &SeedId, gate: SeedLifecycleGate) -> Verdict {
        let Self { outcome, reason, attributes } = self;
        Verdict { seed_id: seed_id.clone(), gate, outcome, reason, attributes }
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
    pub outcome: Outcome,
    /// Why the gate refused or postponed, machine-readable, or [`PASSED`](Self::PASSED).
    pub reason: &'static str,
    /// The values that were looked at.
    pub attributes: Attributes,
}

impl Verdict {
    /// The reason of a verdict that passes.
    pub const PASSED: &'static str = "passed";

    /// Whether the seed may make the move.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Passed)
    }
}
