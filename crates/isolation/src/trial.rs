//! Kernels run before they take part in a pass: to compile what they need, and to see whether fusion changes what they compute.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    tensor::{
        DType, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};
use kasmina_blending::{GraftBackend, pull_back};
use kasmina_kernel_load::{KernelModule, ShapeError};
use kasmina_safety::{Clock, Execution, Outcome};

use crate::{Activation, Route, rehearse::ramp};

/// Why a kernel does not run at its slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrewarmError {
    /// It does not take the slot's activation.
    #[error("the kernel does not fit the slot: {0}")]
    Shape(#[from] ShapeError),
    /// It, or the device below it, panicked.
    #[error("the kernel panicked on the device: {0}")]
    Panicked(String),
    /// Its output holds a number that is not finite.
    #[error("the kernel's output is not finite")]
    NotFinite,
}

impl PrewarmError {
    /// A machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Shape(error) => error.reason(),
            Self::Panicked(_) => "kernel_panicked",
            Self::NotFinite => "kernel_not_finite",
        }
    }
}

/// Runs the kernel once on a ramp of the shape of `input`, all examples of it, without a graph, and waits for the device. What the
/// backend compiles when a kernel is first run on a shape is compiled then. No random number is drawn and nothing is changed.
///
/// # Errors
/// [`PrewarmError`].
pub fn prewarm<B: GraftBackend>(
    kernel: &KernelModule<B>,
    input: &Activation,
    route: &Route,
    device: &B::Device,
) -> Result<(), PrewarmError> {
    match input.rank() {
        2 => prewarm_on::<B, 2>(kernel, input, route, device),
        3 => prewarm_on::<B, 3>(kernel, input, route, device),
        4 => prewarm_on::<B, 4>(kernel, input, route, device),
        got => Err(ShapeError::Rank { expected: kernel.contract().rank, got }.into()),
    }
}

/// One forward and one backward pass of a kernel alone, with all that came of it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// From the call until all numbers were read.
    pub took: Duration,
    output: Vec<f32>,
    /// Of the input, and of every parameter.
    gradients: Vec<Vec<f32>>,
    dtype: DType,
}

/// Runs the kernel forward and backward on a ramp of the shape of `input`, all examples of it, and reads the output and the gradients
/// of the input and every parameter from the device. No random number is drawn and nothing is changed.
///
/// # Errors
/// [`PrewarmError`].
pub fn trial<B: GraftBackend>(
    kernel: &KernelModule<B>,
    input: &Activation,
    route: &Route,
    device: &B::Device,
    clock: &dyn Clock,
) -> Result<Trial, PrewarmError> {
    match input.rank() {
        2 => trial_on::<B, 2>(kernel, input, route, device, clock),
        3 => trial_on::<B, 3>(kernel, input, route, device, clock),
        4 => trial_on::<B, 4>(kernel, input, route, device, clock),
        got => Err(ShapeError::Rank { expected: kernel.contract().rank, got }.into()),
    }
}

impl Trial {
    /// The largest difference between two trials of one kernel, the other one being right: of the outputs as a share of the largest
    /// output, or of the gradients as a share of the largest gradient, whichever is more. NaN if exactly one of two numbers is NaN;
    /// infinite if the other has nothing but zeros and this has not.
    #[must_use]
    pub fn difference(&self, right: &Self) -> f32 {
        let gradients = share(&self.gradients.concat(), &right.gradients.concat());
        larger(share(&self.output, &right.output), gradients)
    }

    /// The largest [difference](Self::difference) that is put down to rounding, by the kernel's element type. All are our choice:
    ///
    /// | type | tolerance | why |
    /// |---|---|---|
    /// | `f32` | 0.01 | ten times what a product of TF32 numbers loses, which tensor cores may use for one path and not for the other |
    /// | `f16` | 0.03 | some thirty roundings: a fused kernel rounds once where the plain path rounds after every operation |
    /// | `bf16` | 0.1 | the same, with numbers of 8 bits |
    #[must_use]
    pub fn tolerance(&self) -> f32 {
        let by_type = [(DType::F16, 0.03), (DType::BF16, 0.1)];
        by_type.into_iter().find(|(dtype, _)| *dtype == self.dtype).map_or(0.01, |(_, tolerance)| tolerance)
    }

    /// What a monitor is told of a trial on the fused path, given one on the plain path.
    #[must_use]
    pub fn execution(fused: &Result<Self, PrewarmError>, plain: &Self) -> Execution {
        match fused {
            Ok(fused) => {
                let (difference, tolerance) = (fused.difference(plain), plain.tolerance());
                Execution { took: fused.took, outcome: Outcome::Compared { difference, tolerance } }
            }
            Err(error) => Execution { took: Duration::ZERO, outcome: Outcome::Failed { reason: error.reason() } },
        }
    }
}

fn prewarm_on<B: GraftBackend, const D: usize>(
    kernel: &KernelModule<B>,
    input: &Activation,
    route: &Route,
    device: &B::Device,
) -> Result<(), PrewarmError> {
    let zero = caught(|| {
        let x = whole_ramp::<B::InnerBackend, D>(kernel, input, 31, device)?;
        let output = route.run(&kernel.valid(), x)?;
        // Zero, or NaN if a number is not finite. Reading it waits for the device.
        Ok(output.mul_scalar(0.0).cast(DType::F32).sum().into_data().iter::<f32>().next().unwrap_or(0.0))
    })?;
    if zero == 0.0 { Ok(()) } else { Err(PrewarmError::NotFinite) }
}

fn trial_on<B: GraftBackend, const D: usize>(
    kernel: &KernelModule<B>,
    input: &Activation,
    route: &Route,
    device: &B::Device,
    clock: &dyn Clock,
) -> Result<Trial, PrewarmError> {
    struct Read<'a, B: AutodiffBackend>(&'a B::Gradients, Vec<Vec<f32>>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Read<'_, B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.1.extend(param.val().grad(self.0).map(numbers));
        }
    }
    let started = clock.monotonic();
    let trial = caught(|| {
        let x = whole_ramp::<B, D>(kernel, input, 31, device)?.require_grad();
        let output = route.run(kernel, x.clone())?;
        let towards = whole_ramp::<B, D>(kernel, &Activation::of(&output), 17, device)?;
        let gradients = pull_back(output.clone(), towards).backward();
        let mut read = Read::<B>(&gradients, x.grad(&gradients).map(numbers).into_iter().collect());
        kernel.visit(&mut read);
        Ok(Trial { took: Duration::ZERO, output: numbers(output.inner()), gradients: read.1, dtype: input.dtype })
    })?;
    if trial.output.iter().all(|number| number.is_finite()) {
        Ok(Trial { took: clock.monotonic().since(started), ..trial })
    } else {
        Err(PrewarmError::NotFinite)
    }
}

/// Numbers in the whole shape of an activation.
fn whole_ramp<B: Backend, const D: usize>(
    kernel: &KernelModule<impl Backend>,
    activation: &Activation,
    steps: usize,
    device: &B::Device,
) -> Result<Tensor<B, D>, ShapeError> {
    let misfit = ShapeError::Rank { expected: kernel.contract().rank, got: activation.rank() };
    ramp::<B, D>(activation, usize::MAX, steps, device).ok_or(misfit)
}

fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// What `run` gives, or its panic. Nothing is left half-done by one: a trial changes nothing.
fn caught<T>(run: impl FnOnce() -> Result<T, PrewarmError>) -> Result<T, PrewarmError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(PrewarmError::Panicked(text.unwrap_or_else(|| "without a word".to_owned())))
    })
}

/// The largest difference of two numbers at the same place, as a share of the largest number on the right.
fn share(ours: &[f32], theirs: &[f32]) -> f32 {
    if ours.len() != theirs.len() {
        return f32::INFINITY;
    }
    let apart = |(one, other): (&f32, &f32)| {
        let same = one == other || (one.is_nan() && other.is_nan());
        if same { 0.0 } else { (one - other).abs() }
    };
    let difference = ours.iter().zip(theirs).map(apart).fold(0.0, larger);
    let scale = theirs.iter().map(|number| number.abs()).fold(0.0, f32::max);
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// The larger of two numbers; NaN if one of them is.
const fn larger(one: f32, other: f32) -> f32 {
    if one.is_nan() || one > other { one } else { other }
}
