//! The alpha of a sample, from the confidence of its logits.

use serde::{Deserialize, Serialize};

#[cfg(feature = "tensor")]
use {
    crate::Alpha,
    burn::tensor::{Int, Tensor, activation::sigmoid, backend::Backend},
};

/// `clamp(a sigmoid(k (top1 - top2 - tau)), lo, hi)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) k: f32,
    pub(crate) tau: f32,
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

#[cfg(feature = "tensor")]
impl Gate {
    /// The alpha of each sample, [batch, 1], from logits of [batch, >= 2 classes]. A sample without a margin gets `lo`.
    pub(crate) fn alphas<B: Backend>(&self, alpha: Alpha, logits: Tensor<B, 2>) -> Tensor<B, 2> {
        let open = self.openings(logits);
        let unknown = open.clone().is_nan();
        open.mul_scalar(alpha.get()).clamp(self.lo, self.hi).mask_fill(unknown, self.lo)
    }

    /// How far the gate is open for each sample, [batch, 1], before alpha; NaN without a margin.
    pub(crate) fn openings<B: Backend>(&self, logits: Tensor<B, 2>) -> Tensor<B, 2> {
        let [_, classes] = logits.dims();
        let unknown = logits.clone().is_nan().any_dim(1);
        let (top1, winner) = logits.clone().max_dim_with_indices(1);
        let class = Tensor::<B, 1, Int>::arange(0..classes as i64, &logits.device()).reshape([1, classes]);
        // Not by sorting: on a GPU, Burn 0.21 sorts on the CPU, which would wait for everything before it.
        let top2 = logits.mask_fill(class.equal(winner), f32::NEG_INFINITY).max_dim(1);
        let open = sigmoid((top1 - top2).sub_scalar(self.tau).mul_scalar(self.k));
        open.mask_fill(unknown, f32::NAN)
    }

    /// How far the gate is open for one sample, before alpha; `None` without a margin.
    pub(crate) fn opening(&self, logits: &[f32]) -> Option<f32> {
        let mut top = [f32::NEG_INFINITY; 2];
        for &logit in logits {
            if logit.is_nan() {
                return None;
            }
            if logit > top[0] {
                top = [logit, top[0]];
            } else if logit > top[1] {
                top[1] = logit;
            }
        }
        let opening = 1.0 / (1.0 + (-self.k * (top[0] - top[1] - self.tau)).exp());
        (!opening.is_nan()).then_some(opening)
    }
}
