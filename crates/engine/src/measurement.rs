//! What the shell should measure of the seeds in a step, beside training them.

use kasmina_leyline::SeedId;

use crate::{
    seed::{Seed, Stage},
    settings::EngineSettings,
    state::State,
};

/// Something to be measured in a step, after the learning pass. The answer is an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measurement {
    /// The network's loss on the batch with this seed and without it: [`Input::Probe`](crate::Input::Probe).
    Probe(SeedId),
    /// Its loss without both, without each, and with all: [`Input::Interaction`](crate::Input::Interaction).
    Interaction(SeedId, SeedId),
    /// Two real passes, with this seed paused and without it: [`Input::PauseProof`](crate::Input::PauseProof).
    PauseProof(SeedId),
}

/// Measurements before one of them is an interaction.
const PROBES_TO_AN_INTERACTION: u64 = 3;
/// The interaction's four forwards are as many as two probes', so the turn after it is left out.
const CYCLE: u64 = PROBES_TO_AN_INTERACTION + 2;
/// With more live seeds, their pairs would take too long to come round.
const MOST_PAIRED: usize = 4;

impl State {
    /// What the shell should measure in step `step` (counted from 1), in this order: probes, interactions, pause proofs.
    ///
    /// There is a turn every `settings.probe_every` steps, on average: once in each period of so many, each time at another place in it, so
    /// that a slot that only every second batch comes to is met. For the same reason the seeds' order is rotated from round to round. As a
    /// rule it is the probe of one seed: of those in SHADOWING and
    /// PROBATIONARY in rotation, or, if there are none, of those in BLENDING. If two to four seeds are in the live network, every
    /// fourth turn is the interaction of two of them, and the turn after that is left out. A probe is two forwards, or one if the
    /// learning pass of the step gave the other loss; an interaction is four, or three. So at the default of 2 it is at most one
    /// extra forward a step on average.
    ///
    /// Two things come on top, both rare: while a hunt is on, a probe of every live seed instead of the turn, unless that is the probe of a
    /// seed that is not live; and the pause proof of each seed in BLENDING, once, when alpha is 1.
    #[must_use]
    pub fn measurements(&self, step: u64, settings: &EngineSettings) -> Vec<Measurement> {
        let turn = self.turn(step, settings.probe_every.max(1));
        let mut measurements = if self.run.hunt.is_some() {
            let live = self.ids(|seed| seed.stage.is_live());
            // A hunt can take long, if no batch comes to the slot of a live seed.
            let other = turn.filter(|turn| matches!(turn, Measurement::Probe(seed) if !live.contains(seed)));
            live.iter().cloned().map(Measurement::Probe).chain(other).collect()
        } else {
            turn.into_iter().collect::<Vec<_>>()
        };
        measurements.extend(self.ids(awaits_pause_proof).into_iter().map(Measurement::PauseProof));
        measurements
    }

    fn turn(&self, step: u64, every: u64) -> Option<Measurement> {
        let period = step / every;
        if step % every != scattered(period, every) {
            return None;
        }
        let (cycle, place) = (period / CYCLE, period % CYCLE);
        let live = self.ids(|seed| seed.stage.is_live() && seed.stage.leaving().is_none());
        let pairs = if live.len() <= MOST_PAIRED { pairs(&live) } else { Vec::new() };
        if let (Some((one, other)), PROBES_TO_AN_INTERACTION..) = (nth(&pairs, cycle), place) {
            let due = place == PROBES_TO_AN_INTERACTION;
            return due.then(|| Measurement::Interaction((*one).clone(), (*other).clone()));
        }
        let (probes, number) = if pairs.is_empty() { (CYCLE, place) } else { (PROBES_TO_AN_INTERACTION, place) };
        let mut candidates = self.ids(is_on_trial);
        if candidates.is_empty() {
            candidates = self.ids(|seed| matches!(seed.stage, Stage::Blending(..)) && may_be_probed(seed));
        }
        let probe = cycle * probes + number;
        let length = u64::try_from(candidates.len()).ok().filter(|length| *length > 0)?;
        nth(&candidates, probe + scattered(probe / length, length)).cloned().map(Measurement::Probe)
    }

    fn ids(&self, wanted: impl Fn(&Seed) -> bool) -> Vec<SeedId> {
        self.seeds.values().filter(|seed| wanted(seed)).map(|seed| seed.id.clone()).collect()
    }
}

fn may_be_probed(seed: &Seed) -> bool {
    let in_doubt = seed.stage.joining().is_none();
    in_doubt && seed.stage.graft().is_some_and(|graft| !graft.paused && graft.leaving.is_none())
}

fn is_on_trial(seed: &Seed) -> bool {
    matches!(seed.stage, Stage::Shadowing(..) | Stage::Probationary(..)) && may_be_probed(seed)
}

fn awaits_pause_proof(seed: &Seed) -> bool {
    may_be_probed(seed)
        && matches!(&seed.stage, Stage::Blending(_, blend) if blend.pause_proven.is_none() && blend.is_complete())
}

fn pairs(ids: &[SeedId]) -> Vec<(&SeedId, &SeedId)> {
    let after = |index: usize| ids.iter().skip(index + 1);
    ids.iter().enumerate().flat_map(|(index, one)| after(index).map(move |other| (one, other))).collect()
}

/// A number below `below` for each `number`, evenly spread, whose sequence has no period that batches could have, too: multiples of the
/// golden ratio.
fn scattered(number: u64, below: u64) -> u64 {
    let fraction = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(fraction) * u128::from(below)) >> u64::BITS) as u64
}

/// The `number`-th of `all`, counted round and round.
fn nth<T>(all: &[T], number: u64) -> Option<&T> {
    let length = u64::try_from(all.len()).ok().filter(|length| *length > 0)?;
    all.get(usize::try_from(number % length).ok()?)
}
