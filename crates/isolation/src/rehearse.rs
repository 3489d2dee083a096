//! Kernels and slots tried out on a ramp: no batch, no random number.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use kasmina_blending::{BlendBackend, GraftBackend};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::SlotId;

use crate::{Activation, GradientLedger, Grafts, SlotShape, gradient_norm};

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
    device: &B::Device,
) -> Option<Rehearsal> {
    match input.rank() {
        2 => rehearse_on::<B, 2>(kernel, input, device),
        3 => rehearse_on::<B, 3>(kernel, input, device),
        4 => rehearse_on::<B, 4>(kernel, input, device),
        _ => None,
    }
}

/// Whether `grafts` return a ramp at the slot unchanged, bit for bit, as they must while every seed there is paused.
#[must_use]
pub fn passes_unchanged<B: BlendBackend>(
    grafts: Grafts<B>,
    slot: &SlotId,
    shape: &SlotShape,
    device: &B::Device,
) -> bool {
    match shape.output.rank() {
        2 => passes_on::<B, 2>(grafts, slot, shape, device),
        3 => passes_on::<B, 3>(grafts, slot, shape, device),
        4 => passes_on::<B, 4>(grafts, slot, shape, device),
        _ => false,
    }
}

fn rehearse_on<B: GraftBackend, const D: usize>(
    kernel: &KernelModule<B>,
    input: &Activation,
    device: &B::Device,
) -> Option<Rehearsal> {
    let output = kernel.forward(ramp::<B, D>(input, 31, device)?).ok()?;
    let shape = Activation::of(&output);
    let error = (output - ramp::<B, D>(&shape, 17, device)?).square().mean();
    let loss = error.clone().into_data().iter::<f32>().next()?;
    let gradients = GradientLedger::<B>::new(error.backward()).take(kernel).ok()?;
    Some(Rehearsal { loss, gradient_norm: gradient_norm::<B, _>(kernel, &gradients) })
}

fn passes_on<B: BlendBackend, const D: usize>(
    mut grafts: Grafts<B>,
    slot: &SlotId,
    shape: &SlotShape,
    device: &B::Device,
) -> bool {
    let tap = ramp::<B, D>(&shape.input, 31, device);
    let Some((tap, h)) = tap.zip(ramp::<B, D>(&shape.output, 17, device)) else { return false };
    let expected = h.to_data();
    grafts.at_with_tap(slot.as_str(), tap, h).into_data().as_bytes() == expected.as_bytes()
}

/// Numbers from -1 to 1 in the shape of `activation`, at most [`BATCH`] examples, with no two rows in sequence the same.
fn ramp<B: Backend, const D: usize>(activation: &Activation, steps: usize, device: &B::Device) -> Option<Tensor<B, D>> {
    let mut dims: [usize; D] = activation.dims.as_slice().try_into().ok()?;
    dims[0] = dims[0].min(BATCH);
    let values: Vec<f32> =
        (0..dims.iter().product()).map(|index: usize| (index * steps % 997) as f32 / 498.0 - 1.0).collect();
    Some(Tensor::from_data(TensorData::new(values, dims), device))
}
