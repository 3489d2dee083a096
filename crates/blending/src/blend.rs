//! The blends on tensors.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData, TensorPrimitive};

use crate::config::Recipe;
use crate::{Alpha, BlendBackend, BlendConfig, BlendError, Weights};

/// The axis of the channels: 1 for `[batch, channel]`, 2 for `[batch, position, channel]`, 1 for `[batch, channel, height, width]`,
/// and `None` for other ranks.
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
/// `host`, `seed` and the result have the same shape (of rank 2, 3 or 4, see [`channel_axis`]), dtype and device. With `a` the
/// alpha, `v` the `alpha_vec`, `g` the incoming gradient, and `logits` of shape `[batch, classes]`:
///
/// | mode | value | gradient of the seed |
/// |---|---|---|
/// | CONVEX | `(1 - a) host + a seed` | `a g` |
/// | RESIDUAL | `host + a seed` | `a g` |
/// | CHANNEL | `(1 - a v[c]) host + a v[c] seed` | `a v[c] g` |
/// | CONFIDENCE | `(1 - w[n]) host + w[n] seed`, `w = clamp(a sigmoid(k (top1 - top2 - tau)), lo, hi)` | `w[n] g` |
///
/// **The host gets no gradient from this operation**: not a zero gradient, but none. Neither do the logits, which are detached and
/// used only in CONFIDENCE.
///
/// At alpha 0, CONVEX, RESIDUAL and CHANNEL return the host itself; at alpha 1, CONVEX returns the seed itself. Both are bit for
/// bit and without a copy, even if the other one holds NaN.
///
/// A sample has no confidence if its logits hold a NaN, or if its margin is undefined (two logits of +inf, or none above -inf). Its
/// weight is then `lo`, the smallest that the command allows. Logits of -inf rule classes out; if one class is left, it is
/// certain.
///
/// # Errors
/// Every variant of [`BlendError`] except `LogitsUnreadable`. Then nothing was computed.
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

/// Blends a committed seed: the value of [`barrier_blend`], with gradients for both. If the seed's gradient is `w g`, the host's is
/// `(1 - w) g`; in RESIDUAL it is `g`.
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

/// The shares of host and seed in a blend, for [`BlendBackend::mix`] and its neighbours. Once these are known, the blend cannot fail.
/// So a caller that needs `host` in the error case asks for them before it gives `host` away.
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

/// The channel axis, if the two can be blended.
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

/// The logits, if they are there, have this batch and have at least two classes.
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
