//! The pass in which one seed learns, and the proof that nothing else does.

use std::{collections::BTreeSet, time::Duration};

use burn::{module::AutodiffModule, optim::GradientsParams, tensor::Tensor};
use kasmina_blending::{Alpha, GraftBackend, tap};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageBlending};
use kasmina_registry::{Owner, Ownership};

use crate::{
    Cast, Fault, GradientLedger, Grafts, HostPass, Override, Part, Participant, Pass, PassKind, StepRng, View,
    Violation,
    behind::{Behind, Forward},
    cosine_similarity,
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
    let ledger = finite.map(|(loss, _)| GradientLedger::<B>::new(tap(loss, None).backward()));
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
    let seed = participant.seed;
    let unsettled = cast.unsettled(&[Override { seed, alpha: None }]);
    let behind = Behind { host, forward, cast, pass, rng, unsettled };
    let once = |alone: bool| {
        let grafts = cast.build(kind, |other| {
            let part = match other.part(View::Live) {
                _ if other.seed == seed && other.paused => Part::Absent,
                _ if other.seed == seed && (other.stage == SeedStageBlending || other.learns) => Part::Learning,
                _ if other.seed == seed => Part::Context,
                Part::Context if alone => Part::Absent,
                part @ (Part::Absent | Part::Committed | Part::StraightThrough | Part::Learning | Part::Context) => {
                    part
                }
            };
            part.role()?;
            let alpha =
                if other.seed == seed && other.stage != SeedStageBlending { Alpha::ONE } else { other.blended_at() };
            Some((part, alpha, other.kernel_in(part)))
        });
        let Forward { loss, value, mut trace } = behind.run(grafts);
        if !trace.reached(participant.slot) {
            trace.faults.push(Fault::unreached(seed, participant.slot));
        }
        let blend_time = trace.blend_time();
        let loss = (!trace.failed(seed)).then_some((loss, value));
        Looked { loss, faults: trace.faults, blend_time }
    };
    let first = once(false);
    if first.loss.as_ref().is_none_or(|(_, value)| value.is_finite()) {
        return first;
    }
    let mut alone = once(true);
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
