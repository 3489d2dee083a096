//! All that the engine knows, and a change of it.

use std::collections::{BTreeMap, BTreeSet};

use kasmina_blending::Alpha;
use kasmina_commands::BreakerName;
use kasmina_leyline::{
    Monotonic, SeedId,
    v1::{CircuitBreakerState::CircuitStateOpen, SeedLifecycleStage},
};
use kasmina_safety::{Breaker, BreakerSettings};
use serde::{Deserialize, Serialize};

use crate::{
    hunt::Hunt,
    records::Records,
    seed::{Embargo, Seed, Stage},
};

/// All that the engine knows: a record for each seed, and what belongs to none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Every registered seed.
    pub seeds: BTreeMap<SeedId, Seed>,
    /// What belongs to no seed.
    pub run: RunState,
}

/// What belongs to no seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Steps taken.
    pub step: u64,
    /// Epochs ended.
    pub epoch: u64,
    /// The breakers that guard the manager's operations.
    pub breakers: Breakers,
    /// Fossilized seeds, in the order in which they became part of the model.
    pub fossils: Vec<SeedId>,
    /// Metrics of the whole network since it last moved.
    pub validation: Vec<Validation>,
    /// The epoch of a rollback that was ordered and not yet done.
    pub rollback: Option<u64>,
    /// What the random numbers of steps are derived from, if the shell has drawn it.
    #[serde(default)]
    pub rng_seed: Option<u64>,
    /// The L2 norm of the host's gradient when it was last sampled.
    #[serde(default)]
    pub host_gradient_norm: Option<f32>,
    /// The hunt for the seed that makes the loss of the blend misbehave.
    #[serde(default)]
    pub hunt: Option<Hunt>,
    /// Whether memory is short, so that no seed germinates. Another process measures it anew.
    #[serde(skip)]
    pub conserving: bool,
    /// Seeds that were forgotten.
    #[serde(default)]
    pub forgotten: u64,
    /// The seeds in the blend at the last learning pass.
    #[serde(default)]
    pub blended: BTreeSet<SeedId>,
}

/// A metric of the whole network, measured on the host with its committed structure and on the live view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Its name, e.g. `validation_accuracy`.
    pub name: String,
    /// Its value without the seeds under trial.
    pub host: f64,
    /// Its value with them.
    pub live: f64,
    /// Which way is up.
    pub higher_is_better: bool,
}

/// The records that a decision changes. Applying it to the state that it was decided on gives the next state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// Changed seeds, whole.
    pub seeds: Records,
    /// Seeds whose records go. One that is in `seeds` too was registered again since.
    pub forgotten: BTreeSet<SeedId>,
    /// What belongs to no seed, if that changed.
    pub run: Option<RunState>,
}

impl Delta {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seeds.is_empty() && self.forgotten.is_empty() && self.run.is_none()
    }

    /// Adds what a later decision changes.
    pub fn merge(&mut self, later: Self) {
        for seed in &later.forgotten {
            self.seeds.remove(seed);
        }
        self.forgotten.extend(later.forgotten);
        self.seeds.extend(later.seeds);
        if later.run.is_some() {
            self.run = later.run;
        }
    }
}

impl State {
    /// Makes a change.
    pub fn apply(&mut self, delta: Delta) {
        for seed in &delta.forgotten {
            self.seeds.remove(seed);
        }
        for seed in delta.seeds {
            match self.seeds.get_mut(&seed.id) {
                Some(known) => *known = seed,
                None => drop(self.seeds.insert(seed.id.clone(), seed)),
            }
        }
        if let Some(run) = delta.run {
            self.run = run;
        }
    }

    /// Whether a seed holds a kernel. While none does, a pass over a batch says nothing of any seed.
    #[must_use]
    pub fn holds_kernels(&self) -> bool {
        self.seeds.values().any(|seed| seed.stage.graft().is_some())
    }

    /// The stage of a seed; `None` for one that was never registered.
    #[must_use]
    pub fn stage(&self, seed: &SeedId) -> Option<SeedLifecycleStage> {
        self.seeds.get(seed).map(|seed| seed.stage.leyline())
    }

    /// How much of a grafted seed is in the blend.
    #[must_use]
    pub fn alpha(&self, seed: &SeedId) -> Option<Alpha> {
        self.seeds.get(seed).and_then(|seed| seed.stage.alpha())
    }

    /// The next time at which [`Input::Tick`](crate::Input::Tick) has something to do, and what.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Monotonic, Deadline)> {
        let embargo = |seed: &Seed| Some((seed.embargo_until()?, Deadline::EmbargoEnds(seed.id.clone())));
        self.seeds.values().filter_map(embargo).min_by_key(|(at, _)| *at)
    }

    /// The same state by a monotonic clock that reads `now` when the old one read `then`. Time in between counts for nothing: an
    /// embargo goes on with what was left of it. A breaker that was open stays open for another time-out.
    #[must_use]
    pub fn rebase(mut self, then: Monotonic, now: Monotonic, breakers: [(BreakerName, BreakerSettings); 4]) -> Self {
        for seed in self.seeds.values_mut() {
            if let Stage::Embargoed(Embargo { until }) = &mut seed.stage {
                *until = now.after(until.since(then));
            }
        }
        for (name, settings) in breakers {
            let breaker = self.run.breakers.get_mut(name);
            let mut renewed = Breaker::new(settings);
            if breaker.state() != renewed.state() {
                // The three known states can all be forced.
                let _ = renewed.force(breaker.state(), now);
            }
            *breaker = renewed;
        }
        self
    }
}

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// This seed's embargo ends.
    EmbargoEnds(SeedId),
    /// A kernel that was asked for must have arrived, or its seed is culled. Whoever loads kernels knows when.
    KernelDue,
}

/// The breakers that guard the manager's operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Breakers {
    #[serde(with = "stored_breaker")]
    isolation: Breaker,
    #[serde(with = "stored_breaker")]
    kernels: Breaker,
    #[serde(default, with = "stored_breaker")]
    blending: Breaker,
    #[serde(default, with = "stored_breaker")]
    telemetry: Breaker,
}

impl Breakers {
    /// All closed.
    #[must_use]
    pub fn new(settings: [(BreakerName, BreakerSettings); 4]) -> Self {
        let mut breakers = Self::default();
        for (name, settings) in settings {
            *breakers.get_mut(name) = Breaker::new(settings);
        }
        breakers
    }

    /// The breaker of that name.
    #[must_use]
    pub const fn get(&self, name: BreakerName) -> &Breaker {
        match name {
            BreakerName::Isolation => &self.isolation,
            BreakerName::Kernels => &self.kernels,
            BreakerName::Blending => &self.blending,
            BreakerName::Telemetry => &self.telemetry,
        }
    }

    pub(crate) const fn get_mut(&mut self, name: BreakerName) -> &mut Breaker {
        match name {
            BreakerName::Isolation => &mut self.isolation,
            BreakerName::Kernels => &mut self.kernels,
            BreakerName::Blending => &mut self.blending,
            BreakerName::Telemetry => &mut self.telemetry,
        }
    }

    /// The first breaker that stands open.
    #[must_use]
    pub fn open(&self) -> Option<BreakerName> {
        BreakerName::ALL.into_iter().find(|name| self.get(*name).state() == CircuitStateOpen)
    }
}

/// A breaker is stored as its state: how far it had counted is of no use to another process.
mod stored_breaker {
    use kasmina_leyline::{Monotonic, v1::CircuitBreakerState};
    use kasmina_safety::Breaker;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(breaker: &Breaker, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(breaker.state().into())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Breaker, D::Error> {
        let mut breaker = Breaker::default();
        let state = CircuitBreakerState::try_from(i32::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if state != breaker.state() {
            breaker.force(state, Monotonic::ORIGIN).map_err(D::Error::custom)?;
        }
        Ok(breaker)
    }
}
