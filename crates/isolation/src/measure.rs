//! Measuring the live view: one forward pass, in which single seeds can be put in or left out.

use std::{collections::BTreeMap, time::Duration};

use burn::{module::AutodiffModule, tensor::Tensor};
use kasmina_blending::{Alpha, GraftBackend};
use kasmina_leyline::SeedId;

use crate::{Cast, Fault, Grafts, HostPass, Participant, StepRng, behind::Behind};

/// Another part for a seed in one pass. It is an argument of the pass and changes nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Override<'a> {
    /// The seed.
    pub seed: &'a SeedId,
    /// Its alpha in this pass, whatever its stage and whether it is paused; `None` leaves it out.
    pub alpha: Option<Alpha>,
}

/// The facts of a measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The loss of the view, finite or not. `None` if a seed that was put in by an override has failed or its slot was not
    /// reached, which is one of the faults.
    pub loss: Option<f32>,
    /// Grafts that failed, including those of seeds without an override.
    pub faults: Vec<Fault>,
    /// The time of each seed's kernel and blend.
    pub blend_times: BTreeMap<SeedId, Duration>,
    /// The time that the forward pass took.
    pub pass_time: Duration,
}

/// Measures the loss of the live view over the batch of `pass`, with these overrides: one forward pass of the host's frozen twin in
/// training mode, without a graph.
///
/// All measures of a step, and its [learning pass](crate::learning_pass), draw the same random numbers at the same places of the
/// host, whichever kernels are in them. So their losses can be compared, if every one of them has an override for each seed that any
/// of them puts in out of its stage: SHADOWING seeds need not be named, a TRAINING or GERMINATED one must. The result for a host
/// that draws random numbers can be compared only if `rng` has a seed.
pub fn measure<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    overrides: &[Override<'_>],
    pass: &HostPass<B>,
    rng: &StepRng<'_, B>,
) -> Measured {
    let started = cast.clock().monotonic();
    let behind = Behind { host, forward, cast, pass, rng, unsettled: cast.unsettled(overrides) };
    let seen = behind.run(cast.measured(overrides));
    let pass_time = cast.clock().monotonic().since(started);
    let mut trace = seen.trace;
    let put_in = || overrides.iter().filter(|other| other.alpha.is_some()).filter_map(|it| cast.participant(it.seed));
    for Participant { seed, slot, .. } in put_in() {
        if !trace.reached(slot) {
            trace.faults.push(Fault::unreached(seed, slot));
        }
    }
    let failed = put_in().any(|participant| trace.failed(participant.seed));
    let loss = (!failed).then_some(seen.value);
    Measured { loss, faults: trace.faults, blend_times: trace.blend_times, pass_time }
}

/// Proves that a pause of the seed leaves the host as if the seed were not there, by two real passes over the batch of `pass`: one
/// of the live view with the seed paused, and one without the seed. Returns whether the activations that leave its slot are equal
/// bit for bit, at every visit.
///
/// A difference counts if it comes again, bit for bit, when both passes are run once more. `None` if it does not, as with a host that draws
/// random numbers before the slot while `rng` has no seed or another thread draws, too; and if the seed is not in the cast or no pass
/// reached its slot. Another batch may show it.
pub fn prove_pause<B: GraftBackend, H: AutodiffModule<B>>(
    seed: &SeedId,
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
    rng: &StepRng<'_, B>,
) -> Option<bool> {
    let participant = cast.participant(seed)?;
    let unsettled = cast.unsettled(&[Override { seed, alpha: None }]);
    let paused = cast.altered(|other| {
        let paused = other.paused || other.seed == seed;
        Some(Participant { paused, ..other })
    });
    let without = cast.altered(|other| (other.seed != seed).then_some(other));
    let watch = |cast: &Cast<'_, B>| {
        let behind = Behind { host, forward, cast, pass, rng, unsettled: unsettled.clone() };
        behind.start(cast.measured(&[]).watching(participant.slot.clone())).1.finish_watch()
    };
    let both = || watch(&paused).zip(watch(&without));
    let (first, other) = both()?;
    if !(first.has_seen() || other.has_seen()) {
        return None;
    }
    if first.same_as(&other) {
        return Some(true);
    }
    let (first_again, other_again) = both()?;
    (first.repeats(&first_again) && other.repeats(&other_again)).then_some(false)
}
