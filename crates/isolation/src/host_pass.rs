//! The pass that trains the host, and the proof that its gradients are its own.

use std::{collections::BTreeSet, time::Duration};

use burn::{
    module::{AutodiffModule, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, backend::Backend},
};
use kasmina_blending::GraftBackend;
use kasmina_leyline::SeedId;
use kasmina_registry::{Owner, Ownership, RegistryError, UpdateRefusal, parameter_ids};

use crate::{
    Cast, Fault, GradientLedger, Grafts, Idle, Part, Participant, Pass, PassKind, RngStream, StepRng, Trace, View,
    Violation, overlap,
    riders::{HostGradients, Visits, ride},
};

/// The facts of the host's pass. Nothing has been stepped, and no seed has been culled.
#[derive(Debug)]
pub struct HostPass<B: GraftBackend> {
    /// The host's loss on the batch.
    pub loss: f32,
    /// The host's gradients.
    pub gradients: GradientsParams,
    /// The gradients of riders (TRAINING seeds) and fossils, in the order of their ids.
    pub kernels: Vec<(SeedId, GradientsParams)>,
    /// Riders that got no gradients because nothing depends on their slot.
    pub idle: Vec<(SeedId, Idle)>,
    /// Seeds that share a parameter with the host or another kernel. The gradients are as if they had not been there.
    pub violations: Vec<Violation>,
    /// The trace of the pass: its faults, and what the passes of seeds reuse.
    pub trace: Trace<B>,
    /// The time that the forward and backward passes took, riders included.
    pub pass_time: Duration,
    /// The time that the verification took.
    pub verify_time: Duration,
}

/// The host cannot be stepped on this batch.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{cause}")]
pub struct HostPassError {
    /// Its cause.
    pub cause: HostPassCause,
    /// The faults of the pass up to then.
    pub faults: Vec<Fault>,
}

/// Why the host cannot be stepped on this batch.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HostPassCause {
    #[error("the loss has the shape {got:?}, expected [1]")]
    LossShape { got: Vec<usize> },
    #[error("the host's loss is {loss}")]
    NonFiniteLoss { loss: f32 },
    /// A fossil, which is part of the host, could not do its part. It is the last of the faults.
    #[error("the fossil {} at {} failed: {}", .0.seed, .0.slot, .0.detail)]
    Fossil(Box<Fault>),
    /// A parameter of the host belongs to another owner.
    #[error("the host cannot be trained: {0}")]
    Host(#[from] RegistryError),
    /// The host may not update a parameter that has a gradient.
    #[error("the host cannot be trained: {0}")]
    Update(#[from] UpdateRefusal),
}

impl HostPassCause {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::LossShape { .. } => "loss_shape",
            Self::NonFiniteLoss { .. } => "non_finite_loss",
            Self::Fossil(fault) => fault.reason,
            Self::Host(error) => error.reason(),
            Self::Update(refusal) => refusal.reason(),
        }
    }
}

/// The host's gradients, and those of fossils, which learn with it.
type Gradients = (GradientsParams, Vec<(SeedId, GradientsParams)>);

/// A seed and the parameters that it shares.
type Offence = (SeedId, BTreeSet<ParamId>);

/// Runs the host's pass: fossils are structure, every slot has a tap, and TRAINING seeds ride behind the taps.
///
/// `forward` returns the host's loss on the batch, of shape `[1]`. The host's graph is the same, node for node, with and without
/// riders. After its backward pass, each rider learns in a graph of its own from the gradient at its slot, at every visit. Nothing
/// that happens there reaches the host, whether a fault or a gradient that is not finite. A rider that shares a parameter with
/// the host, a fossil or an earlier rider is a violation and gets no gradients.
///
/// If a fossil shares a parameter with the host or another fossil, the pass is run again without that fossil, on a copy of the host.
/// Then the host's gradients are as if the fossil had not been there, and running statistics move only once. If the host has new
/// parameters, it is registered again.
///
/// # Errors
/// [`HostPassError`]. The pass may have moved the host's running statistics; nothing else has changed.
pub fn host_pass<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    ownership: &mut dyn Ownership,
    rng: &StepRng<'_, B>,
) -> Result<HostPass<B>, HostPassError> {
    let started = cast.clock().monotonic();
    rng.start(RngStream::Host);
    let mut grafts = cast.host().keep_activations();
    let loss = forward(host, &mut grafts);
    let value = number(&loss);
    let without_faults = |cause| HostPassError { cause, faults: Vec::new() };
    if loss.dims() != [1] {
        return Err(without_faults(HostPassCause::LossShape { got: loss.dims().to_vec() }));
    }
    if !value.is_finite() {
        return Err(without_faults(HostPassCause::NonFiniteLoss { loss: value }));
    }
    let mut ledger = GradientLedger::new(loss.backward());
    let passed = cast.clock().monotonic();

    let (mut trace, mut visits) = grafts.finish_host();
    // Only fossils are at work in the host's forward, and riders have not begun.
    if let Some(fossil) = trace.faults.first().cloned() {
        trace.faults.truncate(1);
        return Err(HostPassError { cause: HostPassCause::Fossil(Box::new(fossil)), faults: trace.faults });
    }
    let present = check_host(host, &ledger, ownership).map_err(without_faults)?;
    let ((gradients, mut kernels), mut violations) = match divide(host, &mut ledger, cast, ownership, &[]) {
        Ok(divided) => (divided, Vec::new()),
        Err(offences) => {
            let again = again(host, forward, cast, ownership, rng, offences);
            visits = again.visits;
            (again.gradients, again.violations)
        }
    };
    let verify_time = cast.clock().monotonic().since(passed);
    let ridden =
        ride(host, &HostGradients { gradients: &gradients, present: &present }, cast, &visits, &trace, ownership);
    trace.faults.extend(ridden.faults);
    violations.extend(ridden.violations);
    kernels.extend(ridden.kernels);
    kernels.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (pass_time, verify_time) = (passed.since(started) + ridden.pass_time, verify_time + ridden.verify_time);
    Ok(HostPass { loss: value, gradients, kernels, idle: ridden.idle, violations, trace, pass_time, verify_time })
}

/// What the pass without the fossils that spoilt it gave.
struct Again<B: GraftBackend> {
    gradients: Gradients,
    violations: Vec<Violation>,
    visits: Visits<B>,
}

/// The pass without the fossils that spoil it, and what each of them added to the host's gradient.
fn again<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    ownership: &dyn Ownership,
    rng: &StepRng<'_, B>,
    mut offences: Vec<Offence>,
) -> Again<B> {
    let pass = |host: &H, without: &[SeedId]| {
        rng.start(RngStream::Host);
        let mut grafts = cast.host_without(without).with_kind(PassKind::HostAgain);
        let loss = forward(host, &mut grafts);
        (GradientLedger::new(loss.backward()), grafts.finish_host().1)
    };
    let twin = || H::from_inner(host.valid());
    let spoilt_host = twin();
    let spoilt = pass(&spoilt_host, &[]).0.take(&spoilt_host).unwrap_or_default();
    loop {
        let without: Vec<SeedId> = offences.iter().map(|(seed, _)| seed.clone()).collect();
        let clean_host = twin();
        let (mut ledger, visits) = pass(&clean_host, &without);
        match divide(&clean_host, &mut ledger, cast, ownership, &without) {
            // Every round leaves at least one more fossil out, so the loop ends.
            Err(more) => offences.extend(more),
            Ok(gradients) => {
                let violation = |(seed, shared): Offence| {
                    let overlap = overlap::<B, _>(host, &gradients.0, &spoilt, &shared);
                    Violation { seed, pass: Pass::Host, shared, overlap }
                };
                let violations = offences.into_iter().map(violation).collect();
                return Again { gradients, violations, visits };
            }
        }
    }
}

/// Splits the gradients of the host's pass between the host and the fossils, if they can be separated.
fn divide<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    ledger: &mut GradientLedger<B>,
    cast: &Cast<'_, B>,
    ownership: &dyn Ownership,
    without: &[SeedId],
) -> Result<Gradients, Vec<Offence>> {
    let in_pass = |participant: &&Participant<'_, B>| {
        !without.contains(participant.seed) && participant.part(View::Host) == Part::Committed
    };
    let mut in_pass: Vec<_> = cast.participants().iter().filter(in_pass).collect();
    in_pass.sort_by_key(|participant| participant.seed);
    let kernels: Vec<_> = in_pass.iter().map(|participant| (participant, ledger.present(participant.kernel))).collect();
    let (mut divided, mut offences) = (Vec::new(), Vec::new());
    for (Participant { seed, kernel, .. }, present) in kernels {
        let missing: BTreeSet<_> = present.difference(&ledger.present(*kernel)).copied().collect();
        let allowed = ownership.validate_update(&Owner::Seed((*seed).clone()), &present);
        match ledger.take_apart_from(*kernel, host) {
            Err(shared) => offences.push(((*seed).clone(), shared)),
            Ok(_) if !missing.is_empty() => offences.push(((*seed).clone(), missing)),
            Ok(gradients) => match allowed {
                Err(refusal) => offences.push(((*seed).clone(), BTreeSet::from([refusal.parameter()]))),
                Ok(()) => divided.push(((*seed).clone(), gradients)),
            },
        }
    }
    match ledger.take(host) {
        Ok(gradients) if offences.is_empty() => Ok((gradients, divided)),
        Ok(_) => Err(offences),
        // Some kernel has taken, by id, a gradient of the host, and it is unknown which one.
        Err(shared) => Err(in_pass.into_iter().map(|other| (other.seed.clone(), shared.clone())).collect()),
    }
}

/// Checks that the host may apply its gradients, and returns the parameters that have one. If the host has new parameters, it is
/// registered again.
fn check_host<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    ledger: &GradientLedger<B>,
    ownership: &mut dyn Ownership,
) -> Result<BTreeSet<ParamId>, HostPassCause> {
    let present = ledger.present(host);
    let allowed = ownership.validate_update(&Owner::Host, &present);
    if let Err(UpdateRefusal::Unregistered { .. }) = allowed {
        ownership.register(&Owner::Host, &parameter_ids(host).into_iter().collect())?;
        ownership.validate_update(&Owner::Host, &present)?;
    } else {
        allowed?;
    }
    Ok(present)
}

/// The loss as a number; NaN for an empty tensor.
pub(crate) fn number<B: Backend>(loss: &Tensor<B, 1>) -> f32 {
    loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN)
}
