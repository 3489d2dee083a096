//! Arithmetic on a module's gradients.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, backend::AutodiffBackend},
};

/// Adds `more` to the gradients `sum` of a module. What is in one of them alone is taken as it is, bit for bit.
pub fn add_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    sum: &mut GradientsParams,
    mut more: GradientsParams,
) {
    module.visit(&mut Add { sum, more: &mut more });
}

/// Multiplies all gradients of a module by `factor`: once, also that of a parameter that is in several places of it.
pub fn scale_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    factor: f32,
) {
    module.visit(&mut Scale { gradients, factor, scaled: BTreeSet::new() });
}

struct Add<'a> {
    sum: &'a mut GradientsParams,
    more: &'a mut GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Add<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(more) = self.more.remove::<B::InnerBackend, D>(param.id) else { return };
        let sum = match self.sum.remove::<B::InnerBackend, D>(param.id) {
            None => more,
            Some(sum) => sum + more,
        };
        self.sum.register::<B::InnerBackend, D>(param.id, sum);
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
    scaled: BTreeSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.scaled.insert(param.id)
            && let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id)
        {
            self.gradients.register::<B::InnerBackend, D>(param.id, gradient * self.factor);
        }
    }
}
