//! The pass in which one seed is measured, without learning.

use std::time::Duration;

use burn::{module::AutodiffModule, tensor::Tensor};
use kasmina_blending::GraftBackend;
use kasmina_leyline::SeedId;

use crate::{
    Cast, Fault, Grafts, HostPass, PassKind, StepRng,
    seed_pass::{Looked, look},
};

/// The facts of a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The loss of the seed's view, finite or not. `None` if its kernel failed, which is one of the faults.
    pub loss: Option<f32>,
    /// Grafts that failed, including those of other seeds.
    pub faults: Vec<Fault>,
    /// The time of kernels and blends in the pass whose loss counts.
    pub blend_time: Duration,
    /// The time that the forward pass took.
    pub pass_time: Duration,
}

/// Measures the loss of one seed's view over the batch of `pass`, as [`seed_pass`](crate::seed_pass) does, but without a backward
/// pass. `None` if the seed is not in the cast.
pub fn probe<B: GraftBackend, H: AutodiffModule<B>>(
    seed: &SeedId,
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
    rng: &StepRng<'_, B>,
) -> Option<Probe> {
    let participant = cast.participant(seed)?;
    let started = cast.clock().monotonic();
    let Looked { loss, faults, blend_time } = look(participant, host, forward, cast, pass, rng, PassKind::Probe);
    let pass_time = cast.clock().monotonic().since(started);
    Some(Probe { loss: loss.map(|(_, value)| value), faults, blend_time, pass_time })
}
