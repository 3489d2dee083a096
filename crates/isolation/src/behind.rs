//! Passes behind the barrier: on a frozen twin of the host, over the batch of the host's pass.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    tensor::{DType, Tensor, backend::AutodiffBackend},
};
use kasmina_blending::GraftBackend;
use kasmina_leyline::{SlotId, v1::SeedLifecycleStage::SeedStageFossilized};

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
    ///
    /// The value is that of the loss, but not finite if a seed with a share in it has weights that are not. The loss need not show them: on some
    /// backends, the ReLU of NaN is 0. Going back, they would poison the gradients of every seed before them all the same.
    pub(crate) fn run(&self, grafts: Grafts<B>) -> Forward<B> {
        let zero = self.zero_if_finite(&grafts);
        let (loss, grafts) = self.start(grafts);
        let value = match zero {
            Some(zero) if loss.dims() == [1] => number(&(loss.clone().inner() + zero.cast(loss.dtype()))),
            Some(_) | None => number(&loss),
        };
        Forward { value, loss, trace: grafts.finish() }
    }

    /// Zero, or NaN if a kernel under trial has weights that are not finite; `None` without such kernels. It is read from the device
    /// with the loss.
    fn zero_if_finite(&self, grafts: &Grafts<B>) -> Option<Tensor<B::InnerBackend, 1>> {
        struct Zero<B: AutodiffBackend>(Option<Tensor<B::InnerBackend, 1>>);
        impl<B: AutodiffBackend> ModuleVisitor<B> for Zero<B> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                // Summed up afterwards, they could overflow.
                let zero = param.val().inner().mul_scalar(0.0).sum().cast(DType::F32);
                self.0 = Some(match self.0.take() {
                    None => zero,
                    Some(others) => others + zero,
                });
            }
        }
        let mut zero = Zero::<B>(None);
        let on_trial = self.cast.participants().iter().filter(|other| other.stage != SeedStageFossilized);
        on_trial.filter(|other| grafts.shares(other.slot, other.seed)).for_each(|other| other.kernel.visit(&mut zero));
        zero.0
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
