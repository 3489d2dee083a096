//! What is known, with what was decided on top of it and not committed.

use std::{cmp::Ordering, fmt, iter};

use kasmina_gates::Gatekeepers;
use kasmina_leyline::{Monotonic, SeedId};

use crate::{
    decision::Decision,
    seed::{Seed, Stage},
    settings::EngineSettings,
    state::{Delta, RunState, State},
};

/// What judges at the gates.
pub(crate) type Keepers = dyn Gatekeepers + Send + Sync + 'static;

/// Decisions on top of an engine that have not been committed. Dropping it undoes them: nothing was done.
#[derive(Clone)]
pub struct Overlay<'a> {
    settings: &'a EngineSettings,
    keepers: &'a Keepers,
    state: &'a State,
    delta: Delta,
}

impl<'a> Overlay<'a> {
    pub(crate) const fn new(
        settings: &'a EngineSettings,
        keepers: &'a Keepers,
        state: &'a State,
        delta: Delta,
    ) -> Self {
        Self { settings, keepers, state, delta }
    }

    /// Lets the next input be decided on top of this decision.
    pub fn adopt(&mut self, decision: &Decision) {
        self.delta.merge(decision.delta.clone());
    }

    /// Everything that was adopted, for [`Engine::commit`](crate::Engine::commit).
    #[must_use]
    pub fn into_delta(self) -> Delta {
        self.delta
    }

    /// The record of a seed, with what was adopted so far.
    #[must_use]
    pub fn seed(&self, id: &SeedId) -> Option<&Seed> {
        self.delta.seeds.get(id).or_else(|| self.state.seeds.get(id).filter(|_| !self.delta.forgotten.contains(id)))
    }

    pub(crate) fn run(&self) -> &RunState {
        self.delta.run.as_ref().unwrap_or(&self.state.run)
    }

    /// All seeds, by id, with what was adopted so far.
    pub(crate) fn seeds(&self) -> impl Iterator<Item = &Seed> {
        let Delta { seeds, forgotten, .. } = &self.delta;
        let mut known = self.state.seeds.values().filter(|seed| !forgotten.contains(&seed.id)).peekable();
        let mut changed = seeds.values().peekable();
        // Both are in order.
        iter::from_fn(move || {
            let order = known.peek().zip(changed.peek()).map(|(known, changed)| known.id.cmp(&changed.id));
            match order {
                Some(Ordering::Less) => known.next(),
                Some(Ordering::Equal) => {
                    known.next();
                    changed.next()
                }
                Some(Ordering::Greater) => changed.next(),
                None => known.next().or_else(|| changed.next()),
            }
        })
    }

    /// Seeds whose embargo has ended, and those whose reset was postponed.
    pub(crate) fn due(&self, now: Monotonic) -> impl Iterator<Item = &Seed> {
        let resets = |seed: &Seed| matches!(seed.stage, Stage::Resetting) && seed.postponed.is_some();
        self.seeds().filter(move |seed| resets(seed) || seed.embargo_until().is_some_and(|until| until <= now))
    }

    pub(crate) const fn settings(&self) -> &'a EngineSettings {
        self.settings
    }

    pub(crate) fn keepers(&self) -> &'a Keepers {
        self.keepers
    }
}

impl fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("delta", &self.delta).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use kasmina_gates::GatePolicy;
    use kasmina_leyline::{SlotId, TrainingRunId};

    use super::*;
    use crate::engine::Engine;

    fn seed(name: &str, lives: u64) -> Seed {
        Seed { lives, ..Seed::dormant(SeedId::new(name).unwrap(), SlotId::new("mid").unwrap()) }
    }

    #[test]
    fn seeds_come_once_each_and_in_order_as_they_were_adopted() {
        let settings = EngineSettings::new(TrainingRunId::new("run-7").unwrap());
        let mut engine = Engine::new(settings, GatePolicy::default());
        let known = ["b", "c", "e", "f"].map(|name| (seed(name, 0).id, seed(name, 0)));
        engine.restore(State { seeds: known.into(), ..State::default() }, Monotonic::ORIGIN, Monotonic::ORIGIN);
        // A new one before all, one changed, one forgotten, one forgotten and registered again, and a new one after all.
        let seeds = [seed("g", 1), seed("c", 1), seed("a", 1), seed("f", 1)].into_iter().collect();
        let forgotten = [seed("e", 0).id, seed("f", 0).id].into();
        let overlay = engine.overlay_on(Delta { seeds, forgotten, run: None });
        let seen: Vec<_> = overlay.seeds().map(|seed| (seed.id.as_str(), seed.lives)).collect();
        assert_eq!(seen, [("a", 1), ("b", 0), ("c", 1), ("f", 1), ("g", 1)]);
    }
}
