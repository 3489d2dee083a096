//! A module's gradients, and its running statistics, as one tensor: for sums over several workers.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{DType, Tensor, backend::AutodiffBackend},
};

/// Which parameters of a module have a gradient: one `bool` for each, in the order in which the module is visited. A parameter that is in
/// several places counts once.
#[must_use]
pub fn gradients_present<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &GradientsParams,
) -> Vec<bool> {
    let mut present = Present { gradients, seen: BTreeSet::new(), present: Vec::new() };
    module.visit(&mut present);
    present.present
}

/// The gradients of the parameters that `wanted` marks, one after the other, as 32-bit floats of shape `[n]`. Where there is none, zeros.
/// `None` if nothing is wanted. `wanted` is as [`gradients_present`] gives it.
#[must_use]
pub fn flatten_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &GradientsParams,
    wanted: &[bool],
) -> Option<Tensor<B::InnerBackend, 1>> {
    let mut flatten = Flatten::<B> { gradients, wanted: wanted.iter(), seen: BTreeSet::new(), parts: Vec::new() };
    module.visit(&mut flatten);
    // Burn's `cat` may drop its arguments early; these hold no graph.
    (!flatten.parts.is_empty()).then(|| Tensor::cat(flatten.parts, 0))
}

/// The gradients that [`flatten_gradients`] has made one tensor of: what is marked in `wanted`, each in its parameter's type. `None` if the
/// tensor has another length.
#[must_use]
pub fn unflatten_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    flat: Tensor<B::InnerBackend, 1>,
    wanted: &[bool],
) -> Option<GradientsParams> {
    let gradients = GradientsParams::new();
    let mut unflatten =
        Unflatten::<B> { flat, at: 0, wanted: wanted.iter(), seen: BTreeSet::new(), gradients, short: false };
    module.visit(&mut unflatten);
    let whole = !unflatten.short && unflatten.at == unflatten.flat.dims()[0];
    whole.then_some(unflatten.gradients)
}

struct Present<'a> {
    gradients: &'a GradientsParams,
    seen: BTreeSet<ParamId>,
    present: Vec<bool>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Present<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.seen.insert(param.id) {
            self.present.push(self.gradients.get::<B::InnerBackend, D>(param.id).is_some());
        }
    }
}

struct Flatten<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    wanted: std::slice::Iter<'a, bool>,
    seen: BTreeSet<ParamId>,
    parts: Vec<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flatten<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !self.seen.insert(param.id) || self.wanted.next() != Some(&true) {
            return;
        }
        let value = param.val();
        let values = value.shape().num_elements();
        let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
        self.parts.push(match gradient {
            Some(gradient) => gradient.reshape([values]).cast(DType::F32),
            None => Tensor::zeros([values], (&value.device(), DType::F32)),
        });
    }
}

struct Unflatten<'a, B: AutodiffBackend> {
    flat: Tensor<B::InnerBackend, 1>,
    at: usize,
    wanted: std::slice::Iter<'a, bool>,
    seen: BTreeSet<ParamId>,
    gradients: GradientsParams,
    short: bool,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Unflatten<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !self.seen.insert(param.id) || self.wanted.next() != Some(&true) {
            return;
        }
        let value = param.val();
        let (from, to) = (self.at, self.at + value.shape().num_elements());
        if to > self.flat.dims()[0] {
            self.short = true;
            return;
        }
        self.at = to;
        let gradient = self.flat.clone().narrow(0, from, to - from).cast(value.dtype()).reshape(value.shape());
        self.gradients.register::<B::InnerBackend, D>(param.id, gradient);
    }
}
