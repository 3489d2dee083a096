//! The pass in which one seed learns, and the proof that nothing else does.

use std::{collections::BTreeSet, time::Duration};

use burn::{module::AutodiffModule, optim::GradientsParams, tensor::Tensor};
use kasmina_blending::GraftBackend;
use kasmina_leyline::SeedId;
use kasmina_registry::{Owner, Ownership};

use crate::{
    Cast, Fault, GradientLedger, Grafts, HostPass, Participant, Pass, PassKind, RngStream, StepRng, Violation,
    cosine_similarity, frozen_twin, host_pass::number,
};

/// The facts of a seed's pass. Nothing has been stepped, and no seed has been culled.
#[derive(Debug)]
pub struct SeedPass {
    /// The loss of the seed's view, finite or not. `None` if its kernel failed, which is one of the faults.
    pub loss: Option<f32>,
    /// The seed's gradients; `None` if the loss is missing or not finite, or if there was a violation.
    pub gradients: Option<GradientsParams>,
    /// The host or another kernel got a gradient.
    pub violation: Option<Violation>,
    /// Grafts that failed, including those of other seeds.
    pub faults: Vec<Fault>,
    /// The time of kernels and blends in the pass whose loss counts.
    pub blend_time: Duration,
    /// The time that the forward and backward pass took.
    pub pass_time: Duration,
    /// The time that the verification took.
    pub verify_time: Duration,
}

/// Runs the pass of one seed over the batch of `pass`, on a frozen twin of the host. `None` if the seed is not in the cast.
///
/// If the loss is not finite, another live seed may be the cause. So the pass is run again without the other live seeds, and the
/// loss of that pass counts.
pub fn seed_pass<B: GraftBackend, H: AutodiffModule<B>>(
    seed: &SeedId,
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
    ownership: &dyn Ownership,
    rng: &StepRng<'_, B>,
) -> Option<SeedPass> {
    let participant = cast.participant(seed)?;
    let started = cast.clock().monotonic();
    let Looked { loss, faults, blend_time } = look(participant, host, forward, cast, pass, rng, PassKind::Seed);
    let value = loss.as_ref().map(|(_, value)| *value);
    let finite = loss.filter(|(_, value)| value.is_finite());
    let ledger = finite.map(|(loss, _)| GradientLedger::<B>::new(loss.backward()));
    let passed = cast.clock().monotonic();
    let verified =
        ledger.map(|mut ledger| verify(participant, host, &mut ledger, cast, &faults, &pass.gradients, ownership));
    let verify_time = cast.clock().monotonic().since(passed);
    let (gradients, violation) = match verified {
        Some(Ok(gradients)) => (Some(gradients), None),
        Some(Err(violation)) => (None, Some(violation)),
        None => (None, None),
    };
    let pass_time = passed.since(started);
    Some(SeedPass { loss: value, gradients, violation, faults, blend_time, pass_time, verify_time })
}

/// The facts of the forward passes of a seed's view.
pub(crate) struct Looked<B: GraftBackend> {
    pub(crate) loss: Option<(Tensor<B, 1>, f32)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) blend_time: Duration,
}

/// The loss of the seed's view; if it is not finite, that of the seed alone.
pub(crate) fn look<B: GraftBackend, H: AutodiffModule<B>>(
    participant: &Participant<'_, B>,
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
    rng: &StepRng<'_, B>,
    kind: PassKind,
) -> Looked<B> {
    let once = |grafts: Grafts<B>| {
        rng.start(RngStream::Seeds);
        let mut grafts = grafts.for_pass(kind).after(&pass.trace);
        let loss = forward(&frozen_twin(host), &mut grafts);
        let mut trace = grafts.finish();
        if !trace.reached(participant.slot) {
            let detail = "the host's forward does not call its slot".to_owned();
            let (seed, slot) = (participant.seed.clone(), participant.slot.clone());
            trace.faults.push(Fault { seed, slot, reason: "slot_not_reached", detail });
        }
        let value = number(&loss);
        let loss = (!trace.failed(participant.seed)).then_some((loss, value));
        Looked { loss, faults: trace.faults, blend_time: trace.blend_time }
    };
    let first = once(cast.seed(participant.seed));
    if first.loss.as_ref().is_none_or(|(_, value)| value.is_finite()) {
        return first;
    }
    let mut alone = once(cast.seed_alone(participant.seed));
    alone.faults.splice(0..0, first.faults);
    alone
}

/// The seed's gradients, if nothing else got one.
fn verify<B: GraftBackend, H: AutodiffModule<B>>(
    participant: &Participant<'_, B>,
    host: &H,
    ledger: &mut GradientLedger<B>,
    cast: &Cast<'_, B>,
    faults: &[Fault],
    host_gradients: &GradientsParams,
    ownership: &dyn Ownership,
) -> Result<GradientsParams, Violation> {
    let violation = |shared, cosine| Violation { seed: participant.seed.clone(), pass: Pass::Seed, shared, cosine };
    let reached = ledger.present(host);
    if !reached.is_empty() {
        let there = ledger.take(host).unwrap_or_default();
        let cosine = cosine_similarity::<B, _>(host, host_gradients, &there, &reached);
        return Err(violation(reached, cosine));
    }
    // A seed with a fault is left out of the step.
    let failed = |seed: &SeedId| faults.iter().any(|fault| fault.seed == *seed);
    let others = cast.participants().iter().filter(|other| other.seed != participant.seed && !failed(other.seed));
    let reached: BTreeSet<_> = others.flat_map(|other| ledger.present(other.kernel)).collect();
    if !reached.is_empty() {
        return Err(violation(reached, None));
    }
    let present = ledger.present(participant.kernel);
    let allowed = ownership.validate_update(&Owner::Seed(participant.seed.clone()), &present);
    allowed.map_err(|refusal| violation(BTreeSet::from([refusal.parameter()]), None))?;
    ledger.take(participant.kernel).map_err(|shared| violation(shared, None))
}
