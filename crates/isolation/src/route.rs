//! How a kernel is run: as the backend runs everything, or past its fusion.

use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};
use kasmina_blending::{BlendBackend, PlainFunction};
use kasmina_kernel_load::{KernelFunction, KernelModule, ShapeError};
use kasmina_safety::KernelPath;

#[cfg(feature = "doubles")]
use crate::doubles::FusedFault;

/// How the kernel of a seed is run. The default is the fused path: as the backend runs everything.
///
/// On the plain path of a backend that fuses, every operation of the kernel is run by itself, on the same device, and so is every
/// operation of its backward pass, which repeats the forward pass. On a backend that does not fuse, both paths are the same.
#[derive(Clone, Debug, Default)]
pub struct Route {
    plain: bool,
    /// What goes wrong on the fused path.
    #[cfg(feature = "doubles")]
    fault: Option<FusedFault>,
}

impl Route {
    /// The fused path, on which something goes wrong.
    #[cfg(feature = "doubles")]
    #[must_use]
    pub const fn faulty(fault: FusedFault) -> Self {
        Self { plain: false, fault: Some(fault) }
    }

    /// Whether kernels run otherwise than the backend runs everything.
    #[must_use]
    pub const fn is_detour(&self) -> bool {
        #[cfg(feature = "doubles")]
        if self.fault.is_some() {
            return true;
        }
        self.plain
    }

    /// The kernel's output.
    pub(crate) fn run<B: BlendBackend, const D: usize>(
        &self,
        kernel: &KernelModule<B>,
        x: Tensor<B, D>,
    ) -> Result<Tensor<B, D>, ShapeError> {
        if self.plain && B::is_fused() {
            return kernel.forward_as_function(x, |function, x, parameters| {
                let (input, parameters) = (x.into_primitive().tensor(), parameters.into_primitive().tensor());
                tensor(B::run_plain(&PlainKernel::<D>(function), input, parameters))
            });
        }
        #[cfg(feature = "doubles")]
        if let Some(fault) = self.fault.as_ref().filter(|_| !self.plain) {
            return kernel.forward(x).map(|output| fault.spoil(output));
        }
        kernel.forward(x)
    }
}

impl From<KernelPath> for Route {
    fn from(path: KernelPath) -> Self {
        Self {
            plain: path == KernelPath::Plain,
            #[cfg(feature = "doubles")]
            fault: None,
        }
    }
}

/// A kernel for tensors of rank `D`.
#[derive(Clone, Debug)]
struct PlainKernel<const D: usize>(KernelFunction);

impl<const D: usize> PlainFunction for PlainKernel<D> {
    fn run<B: Backend>(&self, input: FloatTensor<B>, parameters: FloatTensor<B>) -> FloatTensor<B> {
        self.0.forward(tensor::<B, D>(input), tensor(parameters)).into_primitive().tensor()
    }
}

fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
