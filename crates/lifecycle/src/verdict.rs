//! What gates say.

use std::{collections::BTreeMap, fmt};

use kasmina_leyline::{
    SeedId,
    v1::{GateEvent, SeedLifecycleGate},
};

/// What a gatekeeper finds: a pass or a refusal, with what it looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Finding {
    pub(crate) reason: Option<&'static str>,
    pub(crate) attributes: BTreeMap<&'static str, String>,
}

impl Finding {
    /// The seed may go on.
    pub const fn pass() -> Self {
        Self { reason: None, attributes: BTreeMap::new() }
    }

    /// The seed may not go on. `reason` is machine-readable and stable.
    pub const fn refuse(reason: &'static str) -> Self {
        Self { reason: Some(reason), attributes: BTreeMap::new() }
    }

    /// Adds something that was looked at.
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.attributes.insert(name, value.to_string());
        self
    }

    /// Whether the seed may go on.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.reason.is_none()
    }

    /// Why not; [`Verdict::PASSED`] for a pass.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.reason {
            None => Verdict::PASSED,
            Some(reason) => reason,
        }
    }

    /// The finding as the verdict of `gate` on `seed_id`, for a gate that is asked again without a move in question.
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

/// A gate's verdict on a seed. It is a record: no move can be made with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which seed was judged.
    pub seed_id: SeedId,
    /// By which gate.
    pub gate: SeedLifecycleGate,
    /// Whether it may go on.
    pub passed: bool,
    /// Why not, machine-readable; [`PASSED`](Self::PASSED) otherwise.
    pub reason: &'static str,
    /// What was looked at.
    pub attributes: BTreeMap<&'static str, String>,
}

impl Verdict {
    /// The reason of a verdict that lets the seed go on.
    pub const PASSED: &'static str = "passed";
}

impl From<&Verdict> for GateEvent {
    fn from(verdict: &Verdict) -> Self {
        Self {
            seed_id: verdict.seed_id.to_string(),
            gate: verdict.gate.into(),
            passed: verdict.passed,
            reason: verdict.reason.to_owned(),
            attributes: verdict.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }
}
