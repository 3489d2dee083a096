//! Kernels tried out on a ramp: no batch, no random number.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use kasmina_blending::GraftBackend;
use kasmina_kernel_load::KernelModule;

use crate::{Activation, GradientLedger, Route, gradient_norm};

/// The maximum batch of a rehearsal. Our choice: enough for any norm layer, too few to cost time.
const BATCH: usize = 8;

/// The result of a kernel on a ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rehearsal {
    /// The mean square error to another ramp.
    pub loss: f32,
    /// The L2 norm over all of the kernel's gradients.
    pub gradient_norm: f32,
}

/// Runs a forward and a backward pass of the kernel alone, on a ramp of the shape of `input` (at most 8 examples), with another ramp
/// as the target. The kernel does not change. `None` if it does not run on that shape.
#[must_use]
pub fn rehearse<B: GraftBackend>(
    kernel: &KernelModule<B>,
    input: &Activation,
    route: &Route,
    device: &B::Device,
) -> Option<Rehearsal> {
    match input.rank() {
        2 => rehearse_on::<B, 2>(kernel, input, route, device),
        3 => rehearse_on::<B, 3>(kernel, input, route, device),
        4 => rehearse_on::<B, 4>(kernel, input, route, device),
        _ => None,
    }
}

fn rehearse_on<B: GraftBackend, const D: usize>(
    kernel: &KernelModule<B>,
    input: &Activation,
    route: &Route,
    device: &B::Device,
) -> Option<Rehearsal> {
    let output = route.run(kernel, ramp::<B, D>(input, BATCH, 31, device)?).ok()?;
    let shape = Activation::of(&output);
    let error = (output - ramp::<B, D>(&shape, BATCH, 17, device)?).square().mean();
    let loss = error.clone().into_data().iter::<f32>().next()?;
    let gradients = GradientLedger::<B>::new(error.backward()).take(kernel).ok()?;
    Some(Rehearsal { loss, gradient_norm: gradient_norm::<B, _>(kernel, &gradients) })
}

/// Numbers from -1 to 1 in the shape and the element type of `activation`, at most `batch` examples, with no two rows in sequence the same.
pub(crate) fn ramp<B: Backend, const D: usize>(
    activation: &Activation,
    batch: usize,
    steps: usize,
    device: &B::Device,
) -> Option<Tensor<B, D>> {
    let mut dims: [usize; D] = activation.dims.as_slice().try_into().ok()?;
    dims[0] = dims[0].min(batch);
    let values: Vec<f32> =
        (0..dims.iter().product()).map(|index: usize| (index * steps % 997) as f32 / 498.0 - 1.0).collect();
    Some(Tensor::from_data(TensorData::new(values, dims).convert_dtype(activation.dtype), (device, activation.dtype)))
}
