//! Passes behind the barrier: on a frozen twin of the host, over the batch of the host's pass.

use std::collections::BTreeSet;

use burn::{module::AutodiffModule, tensor::Tensor};
use kasmina_blending::GraftBackend;
use kasmina_leyline::SlotId;

use crate::{Cast, Grafts, HostPass, RngStream, StepRng, Trace, frozen_twin, host_pass::number};

/// What all passes of a step behind the barrier have in common.
pub(crate) struct Behind<'a, B: GraftBackend, H, F> {
    pub(crate) host: &'a H,
    pub(crate) forward: &'a F,
    pub(crate) cast: &'a Cast<'a, B>,
    pub(crate) pass: &'a HostPass<B>,
    pub(crate) rng: &'a StepRng<'a, B>,
    /// The slots from which on nothing of the host's pass is reused. Passes whose losses are compared need the same.
    pub(crate) unsettled: BTreeSet<SlotId>,
}

/// The result of a forward pass. Its one read from the device is the loss.
pub(crate) struct Forward<B: GraftBackend> {
    pub(crate) loss: Tensor<B, 1>,
    pub(crate) value: f32,
    pub(crate) trace: Trace<B>,
}

impl<B, H, F> Behind<'_, B, H, F>
where
    B: GraftBackend,
    H: AutodiffModule<B>,
    F: Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
{
    /// Runs the host's frozen twin with these grafts. Every pass of a step draws the same random numbers.
    pub(crate) fn run(&self, grafts: Grafts<B>) -> Forward<B> {
        let (loss, grafts) = self.start(grafts);
        Forward { value: number(&loss), loss, trace: grafts.finish() }
    }

    /// Like [`run`](Self::run), without reading the loss.
    pub(crate) fn start(&self, grafts: Grafts<B>) -> (Tensor<B, 1>, Grafts<B>) {
        self.rng.start(RngStream::Seeds);
        let mut grafts = grafts.after(&self.pass.trace, self.unsettled.clone()).drawing(self.rng.draws());
        // A twin of its own for every pass: one that was used before has moved running statistics.
        let loss = (self.forward)(&frozen_twin(self.host), &mut grafts);
        (loss, grafts)
    }
}
