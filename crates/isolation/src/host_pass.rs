//! The pass that trains the host, with the fossils in it, and the riders behind it.

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
    Cast, Fault, GradientLedger, Grafts, Idle, RngStream, StepRng, Trace, Violation,
    riders::{HostGradients, Ridden, ride},
    withhold::remove,
};

/// The facts of the host's pass. Nothing has been stepped, and no seed has been culled.
#[derive(Debug)]
pub struct HostPass<B: GraftBackend> {
    /// The host's loss on the batch.
    pub loss: f32,
    /// The host's gradients, those of the fossils in it among them.
    pub gradients: GradientsParams,
    /// The gradients of riders (TRAINING seeds), in the order of their ids.
    pub kernels: Vec<(SeedId, GradientsParams)>,
    /// Riders that got no gradients because nothing depends on their slot.
    pub idle: Vec<(SeedId, Idle)>,
    /// Riders that share a parameter with the host or another kernel. The gradients are as if they had not been there.
    pub violations: Vec<Violation>,
    /// The teacher's parameters that got a gradient because the host contains them, by id. They are not in the gradients.
    pub withheld: Vec<UpdateRefusal>,
    /// The trace of the pass: its faults, and what the passes of seeds reuse.
    pub trace: Trace<B>,
    /// The time that the forward and backward passes took, riders included.
    pub pass_time: Duration,
    /// The time that the verification took.
    pub verify_time: Duration,
}

impl<B: GraftBackend> HostPass<B> {
    /// A pass that was not run: what is measured after it computes everything by itself.
    #[must_use]
    pub fn none() -> Self {
        Self {
            loss: f32::NAN,
            gradients: GradientsParams::new(),
            kernels: Vec::new(),
            idle: Vec::new(),
            violations: Vec::new(),
            withheld: Vec::new(),
            trace: Grafts::<B>::none().finish(),
            pass_time: Duration::ZERO,
            verify_time: Duration::ZERO,
        }
    }
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

/// Runs the host's pass: fossils are structure, every slot has a tap, and TRAINING seeds ride behind the taps.
///
/// `forward` returns the host's loss on the batch, of shape `[1]`. The host is the whole module that the trainer's optimizer steps:
/// the fossils' kernels are parameters of it. Its graph is the same, node for node, with and without riders. After its backward pass,
/// each rider learns in a graph of its own from the gradient at its slot, at every visit. Nothing that happens there reaches the
/// host, whether a fault or a gradient that is not finite. A rider that shares a parameter with the host or an earlier rider is a
/// violation and gets no gradients. If the host has new parameters, it is registered again. A gradient on a parameter of the teacher is
/// taken out of the host's, and the rest of the step goes on.
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

    let (mut trace, visits) = grafts.finish_host();
    // Only fossils are at work in the host's forward, and riders have not begun.
    if let Some(fossil) = trace.faults.first().cloned() {
        trace.faults.truncate(1);
        return Err(HostPassError { cause: HostPassCause::Fossil(Box::new(fossil)), faults: trace.faults });
    }
    let Checked { present, withheld } = check_host(host, &ledger, ownership).map_err(without_faults)?;
    let mut gradients = ledger.take_all(host);
    remove::<B, H>(host, &mut gradients, &withheld);
    let withheld = withheld.into_iter().map(|parameter| UpdateRefusal::Teacher { parameter }).collect();
    let verify_time = cast.clock().monotonic().since(passed);
    let ridden =
        ride(host, &HostGradients { gradients: &gradients, present: &present }, cast, &visits, &trace, ownership);
    trace.faults.extend(ridden.faults);
    let (pass_time, verify_time) = (passed.since(started) + ridden.pass_time, verify_time + ridden.verify_time);
    let Ridden { kernels, idle, violations, .. } = ridden;
    Ok(HostPass { loss: value, gradients, kernels, idle, violations, withheld, trace, pass_time, verify_time })
}

/// The parameters of the host that have a gradient.
struct Checked {
    /// Those that the host may apply.
    present: BTreeSet<ParamId>,
    /// Those of the teacher.
    withheld: BTreeSet<ParamId>,
}

/// Checks that the host may apply its gradients, but for those of the teacher. If the host has new parameters, it is registered again.
fn check_host<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    ledger: &GradientLedger<B>,
    ownership: &mut dyn Ownership,
) -> Result<Checked, HostPassCause> {
    let is_teachers = |ownership: &dyn Ownership, id: &ParamId| ownership.owner(*id) == Some(&Owner::Teacher);
    let present = ledger.present(host);
    let (withheld, present) = present.into_iter().partition(|id| is_teachers(ownership, id));
    let allowed = ownership.validate_update(&Owner::Host, &present);
    if let Err(UpdateRefusal::Unregistered { .. }) = allowed {
        let own = parameter_ids(host).into_iter().filter(|id| !is_teachers(ownership, id)).collect();
        ownership.register(&Owner::Host, &own)?;
        ownership.validate_update(&Owner::Host, &present)?;
    } else {
        allowed?;
    }
    Ok(Checked { present, withheld })
}

/// The loss as a number; NaN for an empty tensor.
pub(crate) fn number<B: Backend>(loss: &Tensor<B, 1>) -> f32 {
    loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN)
}
