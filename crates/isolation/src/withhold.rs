//! Gradients that an optimizer must not get.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, backend::AutodiffBackend},
};
use kasmina_registry::{Owner, Ownership, UpdateRefusal};

/// Takes out of a module's gradients those that `by` may not apply, and says which and why, in the order of their ids: the parameter is
/// not registered (`unregistered`), belongs to somebody else (`cross_seed`), or to the teacher (`teacher`). An optimizer of Burn leaves a
/// parameter without a gradient as it is, bit for bit.
///
/// For a trainer with a loop of its own, before it steps its optimizer. [`host_pass`](crate::host_pass) does it for the teacher's
/// parameters by itself.
pub fn withhold<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    by: &Owner,
    ownership: &dyn Ownership,
) -> Vec<UpdateRefusal> {
    let mut present = Present { gradients, found: BTreeSet::new() };
    module.visit(&mut present);
    let present = present.found;
    let one = |id: &ParamId| ownership.validate_update(by, &BTreeSet::from([*id])).err();
    let refusals: Vec<UpdateRefusal> = present.iter().filter_map(one).collect();
    remove::<B, M>(module, gradients, &refusals.iter().map(UpdateRefusal::parameter).collect());
    refusals
}

/// Takes the gradients of these parameters out.
pub(crate) fn remove<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    parameters: &BTreeSet<ParamId>,
) {
    if !parameters.is_empty() {
        module.visit(&mut Remove { gradients, parameters });
    }
}

struct Present<'a> {
    gradients: &'a GradientsParams,
    found: BTreeSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Present<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.gradients.get::<B::InnerBackend, D>(param.id).is_some() {
            self.found.insert(param.id);
        }
    }
}

struct Remove<'a> {
    gradients: &'a mut GradientsParams,
    parameters: &'a BTreeSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Remove<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.parameters.contains(&param.id) {
            drop(self.gradients.remove::<B::InnerBackend, D>(param.id));
        }
    }
}
