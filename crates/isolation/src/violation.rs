//! Isolation violations: gradients that must not exist.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::ParamId;
use kasmina_leyline::SeedId;

use crate::Overlap;

/// The pass in which a violation was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The host's pass: a TRAINING seed shares a parameter with it.
    Host,
    /// The learning pass: the host or another kernel got a gradient.
    Seed,
}

/// A parameter got a gradient that it must not get.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The seed that caused it.
    pub seed: SeedId,
    /// The pass in which it was found.
    pub pass: Pass,
    /// The parameters that got the gradient.
    pub shared: BTreeSet<ParamId>,
    /// The host's gradient without the seed against what it would have got from the seed, over the shared parameters. `None` if one of
    /// the two is zero or unknown.
    pub overlap: Option<Overlap>,
}

/// Counts the violations of each seed.
#[derive(Clone, Debug, Default)]
pub struct ViolationLog {
    counts: BTreeMap<SeedId, u64>,
}

impl ViolationLog {
    /// The number of violations of one seed that is no longer taken for an accident. Source: Esper's contract.
    pub const ESCALATION: u64 = 3;

    /// Counts one more. Returns whether the count has reached [`ESCALATION`](Self::ESCALATION).
    pub fn record(&mut self, seed: &SeedId) -> bool {
        let count = self.counts.entry(seed.clone()).or_default();
        *count += 1;
        *count >= Self::ESCALATION
    }

    /// The seed's violations so far.
    #[must_use]
    pub fn count(&self, seed: &SeedId) -> u64 {
        self.counts.get(seed).copied().unwrap_or_default()
    }

    /// The seeds that have violations, and how many.
    pub fn counts(&self) -> impl Iterator<Item = (&SeedId, u64)> {
        self.counts.iter().map(|(seed, count)| (seed, *count))
    }

    /// Forgets the seed's violations.
    pub fn clear(&mut self, seed: &SeedId) {
        self.counts.remove(seed);
    }
}

impl FromIterator<(SeedId, u64)> for ViolationLog {
    fn from_iter<I: IntoIterator<Item = (SeedId, u64)>>(counts: I) -> Self {
        Self { counts: counts.into_iter().collect() }
    }
}
