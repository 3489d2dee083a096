//! Clipping over host and fossils together.

use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use kasmina_isolation::{gradient_norm, scale_gradients};

/// Scales all gradients of the module so that their L2 norm together is at most `max_norm`, and returns what it was. (Burn's own
/// `GradientClippingConfig::Norm` clips each tensor by itself.) A norm that is not finite changes nothing. It reads from the device once.
pub fn clip_by_global_norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    max_norm: f32,
) -> f32 {
    let norm = gradient_norm::<B, M>(module, gradients);
    if norm.is_finite() && norm > max_norm {
        scale_gradients::<B, M>(module, gradients, max_norm / norm);
    }
    norm
}
