//! The blends on tensors.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData, TensorPrimitive};

use crate::config::Recipe;
use crate::{Alpha, BlendBackend, BlendConfig, BlendError, Weights};

/// Which axis holds the channels: `[batch, channel]` 1, `[batch, position, channel]` 2, `[batch, channel, height, width]` 1;
/// none for other ranks.
#[must_use]
pub const fn channel_axis(rank: usize) -> Option<usize> {
    match rank {
        2 | 4 => Some(1),
        3 => Some(2),
        _ => None,
    }
}

/// Blends a live seed into the host's activation without letting a gradient through to the host.
///
/// `host` and `seed` have the same shape, of rank 2, 3 or 4 (see [`channel_axis`]), dtype and device; so has the result. With
/// `a` the alpha, `v` the `alpha_vec` and `logits` of `[batch, classes]`:
///
/// | mode | value | gradient of the seed |
/// |---|---|---|
/// | CONVEX | `(1 - a) host + a seed` | `a g` |
/// | RESIDUAL | `host + a seed` | `a g` |
/// | CHANNEL | `(1 - a v[c]) host + a v[c] seed` | `a v[c] g` |
/// | CONFIDENCE | `(1 - w[n]) host + w[n] seed`, `w = clamp(a sigmoid(k (top1 - top2 - tau)), lo, hi)` | `w[n] g` |
///
/// **The host has no gradient from this operation**: not a zero one, none. Neither have the logits, which are detached and
/// looked at in CONFIDENCE alone.
///
/// At alpha 0 CONVEX, RESIDUAL and CHANNEL give the host itself, at alpha 1 CONVEX gives the seed itself, bit for bit and
/// without a copy, even where the other one holds NaN.
///
/// A sample whose logits hold a NaN, or whose margin is undefined (two logits of +inf, none above -inf), has no confidence:
/// its weight is `lo`, the least of the seed that the command allows. Logits of -inf are classes ruled out; one class left
/// is certainty.
///
/// # Errors
/// Every variant of [`BlendError`] but `LogitsUnreadable`. Nothing is computed then.
pub fn barrier_blend<B: BlendBackend, const D: usize>(
    host: Tensor<B, D>,
    seed: Tensor<B, D>,
    config: &BlendConfig,
    alpha: Alpha,
    logits: Option<Tensor<B, 2>>,
) -> Result<Tensor<B, D>, BlendError> {
    let weights = blend_weights(&host, &seed, config, alpha, logits)?;
    Ok(float(B::mix_behind_barrier(host.into_primitive().tensor(), seed.into_primitive().tensor(), weights)))
}

/// Blends a committed seed: the value of [`barrier_blend`], with gradients for both. The host's are `(1 - w) g` where the
/// seed's are `w g`, and `g` in RESIDUAL.
///
/// # Errors
/// As [`barrier_blend`].
pub fn committed_blend<B: BlendBackend, const D: usize>(
    host: Tensor<B, D>,
    seed: Tensor<B, D>,
    config: &BlendConfig,
    alpha: Alpha,
    logits: Option<Tensor<B, 2>>,
) -> Result<Tensor<B, D>, BlendError> {
    let weights = blend_weights(&host, &seed, config, alpha, logits)?;
    Ok(float(B::mix(host.into_primitive().tensor(), seed.into_primitive().tensor(), weights)))
}

/// Whether a seed can be blended into a host: both have the same shape, of rank 2, 3 or 4, dtype and device.
///
/// # Errors
/// [`BlendError::UnsupportedRank`], `ShapeMismatch`, `DTypeMismatch`, `DeviceMismatch`.
pub fn check_fit<B: Backend, const D: usize>(host: &Tensor<B, D>, seed: &Tensor<B, D>) -> Result<(), BlendError> {
    check_pair(host, seed).map(|_| ())
}

fn float<B: Backend, const D: usize>(primitive: B::FloatTensorPrimitive) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// How much of host and of seed a blend takes, for [`BlendBackend::mix`] and its neighbours. After this a blend cannot fail, so
/// a caller who needs `host` when it cannot be computed keeps it by asking first.
///
/// # Errors
/// As [`barrier_blend`].
pub fn blend_weights<B: Backend, const D: usize>(
    host: &Tensor<B, D>,
    seed: &Tensor<B, D>,
    config: &BlendConfig,
    alpha: Alpha,
    logits: Option<Tensor<B, 2>>,
) -> Result<Weights<B>, BlendError> {
    let axis = check_pair(host, seed)?;
    let shape = host.dims();
    match &config.recipe {
        Recipe::Convex => Ok(Weights::Convex(alpha.get())),
        Recipe::Residual => Ok(Weights::Residual(alpha.get())),
        Recipe::Channel(alpha_vec) => {
            if alpha_vec.len() != shape[axis] {
                return Err(BlendError::ChannelMismatch { expected: shape[axis], got: alpha_vec.len() });
            }
            if alpha == Alpha::ZERO {
                return Ok(Weights::Convex(0.0));
            }
            let weight: Vec<f32> = alpha_vec.iter().map(|factor| alpha.get() * factor).collect();
            let mut weight_shape = [1; D];
            weight_shape[axis] = weight.len();
            let weight = TensorData::new(weight, weight_shape).convert_dtype(host.dtype());
            Ok(Weights::Each(B::float_from_data(weight, &host.device())))
        }
        Recipe::Confidence(gate) => {
            let logits = check_logits(logits, Some(shape[0]))?;
            if logits.device() != host.device() {
                return Err(device_mismatch("the logits", host, &logits));
            }
            if shape[0] == 0 {
                return Ok(Weights::Convex(alpha.get())); // Flex 0.21 panics when it reduces an empty batch
            }
            let mut weight_shape = [1; D];
            weight_shape[0] = shape[0];
            let weight = gate.alphas(alpha, logits.detach()).reshape(weight_shape).cast(host.dtype());
            Ok(Weights::Each(weight.into_primitive().tensor()))
        }
    }
}

/// The channel axis, if the two can be blended at all.
fn check_pair<B: Backend, const D: usize>(host: &Tensor<B, D>, seed: &Tensor<B, D>) -> Result<usize, BlendError> {
    let axis = channel_axis(D).ok_or(BlendError::UnsupportedRank { got: D })?;
    let (expected, got) = (host.dims(), seed.dims());
    if expected != got {
        return Err(BlendError::ShapeMismatch { expected: expected.to_vec(), got: got.to_vec() });
    }
    if host.dtype() != seed.dtype() {
        return Err(BlendError::DTypeMismatch { expected: host.dtype(), got: seed.dtype() });
    }
    if host.device() != seed.device() {
        return Err(device_mismatch("the seed", host, seed));
    }
    Ok(axis)
}

fn device_mismatch<B: Backend, const D: usize, const E: usize>(
    what: &'static str,
    host: &Tensor<B, D>,
    other: &Tensor<B, E>,
) -> BlendError {
    let (expected, got) = (format!("{:?}", host.device()), format!("{:?}", other.device()));
    BlendError::DeviceMismatch { what, expected, got }
}

/// The logits, if there are any of that batch and of two classes at least.
pub(crate) fn check_logits<B: Backend>(
    logits: Option<Tensor<B, 2>>,
    batch: Option<usize>,
) -> Result<Tensor<B, 2>, BlendError> {
    let logits = logits.ok_or(BlendError::LogitsMissing)?;
    let [got, classes] = logits.dims();
    if let Some(expected) = batch.filter(|expected| *expected != got) {
        return Err(BlendError::LogitsBatch { expected, got });
    }
    if classes < 2 {
        return Err(BlendError::LogitsClasses { got: classes });
    }
    Ok(logits)
}
