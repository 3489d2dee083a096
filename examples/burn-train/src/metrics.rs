//! What a step hands to burn-train's metrics.

use std::sync::{Arc, OnceLock};

use burn::{backend::Flex, tensor::Tensor};
use burn_train::{
    ItemLazy,
    metric::{Adaptor, LossInput},
};

/// The loss of a batch, once the manager has trained it. The learner asks only then.
#[derive(Clone, Debug, Default)]
pub struct Trained(Arc<OnceLock<f32>>);

impl Trained {
    pub(crate) fn set(&self, loss: f32) {
        // Nobody sets it twice: the batch is taken out of the queue first.
        let _ = self.0.set(loss);
    }
}

impl ItemLazy for Trained {
    type ItemSync = Loss;

    fn sync(self) -> Loss {
        Loss(self.0.get().copied().unwrap_or(f32::NAN))
    }
}

/// The loss of a batch; NaN if the batch was refused.
#[derive(Clone, Copy, Debug)]
pub struct Loss(pub f32);

impl ItemLazy for Loss {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl Adaptor<LossInput<Flex>> for Loss {
    fn adapt(&self) -> LossInput<Flex> {
        LossInput::new(Tensor::from_floats([self.0], &Default::default()))
    }
}
