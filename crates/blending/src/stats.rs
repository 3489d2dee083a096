//! A blend in numbers, for telemetry.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::blend::check_logits;
use crate::config::Recipe;
use crate::{Alpha, BlendConfig, BlendError, BlendMode};

/// The weights of one blend in a few numbers, without units. A weight is the share of the seed: alpha in CONVEX and RESIDUAL, one for
/// each channel in CHANNEL, one for each sample in CONFIDENCE.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlendStats {
    /// The blend's mode.
    pub mode: BlendMode,
    /// The mean weight; 0 for an empty batch.
    pub alpha_mean: f32,
    /// The 95th percentile of the weights (nearest rank); 0 for an empty batch.
    pub alpha_p95: f32,
    /// The share of weights that are exactly 0.
    pub sparsity: f32,
    /// The share of samples whose weight was limited by `lo` or `hi`, including those without a margin; 0 in other modes than
    /// CONFIDENCE.
    pub clamped_fraction: f32,
    /// The mean opening of the gate, before alpha and limits, over the samples that have a margin. `None` in other modes than
    /// CONFIDENCE, and if no sample has a margin.
    pub gate_mean: Option<f32>,
}

/// The numbers of one blend, computed on the CPU. The blended tensors are not needed.
///
/// In CONFIDENCE this reads the logits from their device and waits for them. On a GPU, call it for a sample of the steps only.
///
/// # Errors
/// [`BlendError::LogitsMissing`], `LogitsClasses`, `LogitsUnreadable`, all of them only in CONFIDENCE.
pub fn stats<B: Backend>(
    config: &BlendConfig,
    alpha: Alpha,
    logits: Option<Tensor<B, 2>>,
) -> Result<BlendStats, BlendError> {
    let alpha = alpha.get();
    let mode = config.mode();
    match &config.recipe {
        Recipe::Convex | Recipe::Residual => Ok(summary(mode, vec![alpha], 0, None)),
        Recipe::Channel(alpha_vec) => {
            Ok(summary(mode, alpha_vec.iter().map(|factor| alpha * factor).collect(), 0, None))
        }
        Recipe::Confidence(gate) => {
            let logits = check_logits(logits, None)?;
            let [_, classes] = logits.dims();
            let unreadable = |detail: String| BlendError::LogitsUnreadable { detail };
            let data = logits.try_into_data().map_err(|error| unreadable(format!("{error:?}")))?;
            let logits = data.convert::<f32>().into_vec::<f32>().map_err(|error| unreadable(format!("{error:?}")))?;
            let openings: Vec<Option<f32>> = logits.chunks_exact(classes).map(|row| gate.opening(row)).collect();
            let (mut weights, mut clamped) = (Vec::with_capacity(openings.len()), 0);
            for opening in &openings {
                let wanted = opening.map(|opening| alpha * opening);
                let weight = wanted.map_or(gate.lo, |wanted| wanted.clamp(gate.lo, gate.hi));
                clamped += usize::from(wanted != Some(weight));
                weights.push(weight);
            }
            Ok(summary(mode, weights, clamped, mean(openings.into_iter().flatten())))
        }
    }
}

fn summary(mode: BlendMode, mut weights: Vec<f32>, clamped: usize, gate_mean: Option<f32>) -> BlendStats {
    weights.sort_by(f32::total_cmp);
    let count = weights.len();
    let share = |some: usize| if count == 0 { 0.0 } else { some as f32 / count as f32 };
    BlendStats {
        mode,
        alpha_mean: mean(weights.iter().copied()).unwrap_or(0.0),
        alpha_p95: weights.get((count * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0),
        sparsity: share(weights.iter().filter(|weight| **weight == 0.0).count()),
        clamped_fraction: share(clamped),
        gate_mean,
    }
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + f64::from(value)));
    (count > 0).then(|| (sum / f64::from(count)) as f32)
}
