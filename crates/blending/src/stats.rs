//! A blend in numbers, for telemetry.

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, FloatDType, Tensor};

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

/// The numbers of one blend that may still be on their device: [`sample`].
#[derive(Clone, Debug)]
pub enum Sampled<B: Backend> {
    /// They follow from the configuration; nothing has to be read.
    Known(BlendStats),
    /// [`Sampled::NUMBERS`] numbers, of shape `[5]`, in `f32`. A caller that reads other numbers in the same step concatenates them, reads
    /// all at once, and gives these to [`BlendStats::from_numbers`].
    OnDevice(BlendMode, Tensor<B, 1>),
}

impl<B: Backend> Sampled<B> {
    /// How many numbers are on the device: mean, 95th percentile, sparsity, clamped fraction, and the gate's mean, NaN if there is none.
    pub const NUMBERS: usize = 5;
}

impl BlendStats {
    /// The numbers that [`Sampled::OnDevice`] had, read. `None` if they are not [`Sampled::NUMBERS`] numbers.
    #[must_use]
    pub fn from_numbers(mode: BlendMode, numbers: &[f32]) -> Option<Self> {
        let &[alpha_mean, alpha_p95, sparsity, clamped_fraction, gate] = numbers else { return None };
        let gate_mean = (!gate.is_nan()).then_some(gate);
        Some(Self { mode, alpha_mean, alpha_p95, sparsity, clamped_fraction, gate_mean })
    }
}

/// The numbers of one blend, as [`stats`] has them, computed where the logits are and without waiting for them. Sums are in `f32` in the
/// device's order, so the means can differ from those of `stats` in the last digits.
///
/// # Errors
/// [`BlendError::LogitsMissing`], `LogitsClasses`, both only in CONFIDENCE.
pub fn sample<B: Backend>(
    config: &BlendConfig,
    alpha: Alpha,
    logits: Option<Tensor<B, 2>>,
) -> Result<Sampled<B>, BlendError> {
    let Recipe::Confidence(gate) = &config.recipe else { return stats::<B>(config, alpha, None).map(Sampled::Known) };
    let logits = check_logits(logits, None)?.detach();
    let [batch, _] = logits.dims();
    if batch == 0 {
        return Ok(Sampled::Known(summary(config.mode(), Vec::new(), 0, None)));
    }
    let weights = gate.alphas(alpha, logits.clone()).reshape([batch]).cast(FloatDType::F32);
    let openings = gate.openings(logits).reshape([batch]).cast(FloatDType::F32);
    let unknown = openings.clone().is_nan();
    let known = unknown.clone().bool_not();
    let share = |some: Tensor<B, 1, Bool>| some.float().cast(FloatDType::F32).mean();
    // A weight that is not what the gate wanted was clamped, and so was one that the gate had no wish for.
    let wanted = openings.clone().mul_scalar(alpha.get());
    let clamped = wanted.not_equal(weights.clone()).bool_or(unknown.clone());
    let sum = openings.mask_fill(unknown, 0.0).sum();
    // 0 / 0 is NaN: no gate.
    let gate_mean = sum / known.float().cast(FloatDType::F32).sum();
    let (mean, sparsity) = (weights.clone().mean(), share(weights.clone().equal_elem(0.0)));
    let numbers = vec![mean, percentile(&weights), sparsity, share(clamped), gate_mean];
    Ok(Sampled::OnDevice(config.mode(), Tensor::cat(numbers, 0)))
}

/// Comparisons that the percentile makes at once. Our choice: 16 MB of numbers.
const MOST_COMPARED: usize = 4 << 20;

/// The 95th percentile by the nearest rank, in shape `[1]`: the smallest weight that at least 95 in 100 do not exceed. It compares each
/// weight with each, because sorting would go through the CPU on a GPU (Burn 0.21).
fn percentile<B: Backend>(weights: &Tensor<B, 1>) -> Tensor<B, 1> {
    let [count] = weights.dims();
    let rank = (count * 95).div_ceil(100);
    let rows = (MOST_COMPARED / count).max(1);
    let row = weights.clone().reshape([1, count]);
    let mut found: Option<Tensor<B, 1>> = None;
    for start in (0..count).step_by(rows) {
        let some = weights.clone().slice(start..(start + rows).min(count));
        let [length] = some.dims();
        let not_above = row.clone().lower_equal(some.clone().reshape([length, 1])).int().sum_dim(1).reshape([length]);
        let smallest = some.mask_fill(not_above.lower_elem(rank as i64), f32::INFINITY).min();
        found = Some(found.map_or(smallest.clone(), |found| found.min_pair(smallest)));
    }
    found.unwrap_or_else(|| weights.clone())
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
