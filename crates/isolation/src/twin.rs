//! Copies that nothing can reach the original through.

use burn::{module::AutodiffModule, tensor::backend::AutodiffBackend};

/// A copy of the module whose parameters have the same values and get no gradient. It has running statistics of its own: a pass
/// through it in training mode does not move those of the original. No parameter data is copied.
#[must_use]
pub fn frozen_twin<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M) -> M {
    M::from_inner(module.valid()).no_grad()
}
