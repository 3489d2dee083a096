//! Clipping over host and fossils together.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, backend::AutodiffBackend};
use kasmina_isolation::gradient_norm;

/// Scales all gradients of the module so that their L2 norm together is at most `max_norm`, and returns what it was. (Burn's own
/// `GradientClippingConfig::Norm` clips each tensor by itself.) A norm that is not finite changes nothing. It reads from the device once.
pub fn clip_by_global_norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    max_norm: f32,
) -> f32 {
    let norm = gradient_norm::<B, M>(module, gradients);
    if norm.is_finite() && norm > max_norm {
        module.visit(&mut Scale { gradients, factor: max_norm / norm });
    }
    norm
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register::<B::InnerBackend, D>(param.id, gradient * self.factor);
        }
    }
}
