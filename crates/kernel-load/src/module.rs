//! The module that is built from a verified artifact.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::blocks::{Source, Weights};
use crate::check::{self, Spatial};
use crate::nested::Layers;
use crate::{ArtifactLimits, Manifest, ManifestError, ShapeError, SlotContract};

/// A kernel that can run and learn, built from a manifest at run time by
/// [`VerifiedArtifact::build`](crate::VerifiedArtifact::build).
///
/// It is a Burn module like any other: it trains on `Autodiff<B>`, `valid()` returns its twin without a graph, a clone shares its
/// parameters' ids, and stores use the tensor names of [`Manifest::tensors`].
#[derive(Module, Debug)]
pub struct KernelModule<B: Backend> {
    layers: Layers<B>,
    contract: SlotContract,
    smallest: [usize; 2],
}

impl<B: Backend> KernelModule<B> {
    /// `parameters` holds the tensors of a checked manifest, in the plan's order.
    pub(crate) fn new(manifest: &Manifest, spatial: Spatial, parameters: &[f32], device: &B::Device) -> Self {
        let source = Source::Numbers(parameters);
        let mut weights = Weights { source, dtype: manifest.contract.dtype.dtype(), device };
        Self { layers: weights.layers(&manifest.layers), contract: manifest.contract, smallest: spatial.smallest() }
    }

    /// A module of the manifest's layers with zero weights and new parameter ids. Put stored weights into it with
    /// [`module_from_bytes`](crate::weights::module_from_bytes). The manifest is checked like that of an artifact. No random
    /// number is drawn and nothing is hashed.
    ///
    /// # Errors
    /// [`ManifestError`], as for [`Manifest::validate`].
    pub fn blank(manifest: &Manifest, limits: &ArtifactLimits, device: &B::Device) -> Result<Self, ManifestError> {
        let checked = check::manifest(manifest, limits)?;
        let elements: usize = checked.plan.iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
        Ok(Self::new(manifest, checked.spatial, &vec![0.0; elements], device))
    }

    /// The kernel's input and output.
    #[must_use]
    pub fn contract(&self) -> SlotContract {
        self.contract
    }

    /// The kernel's output for `x`.
    ///
    /// `x` is `[batch, channels_in]`, `[batch, tokens, channels_in]` or `[batch, channels_in, height, width]`, depending on the
    /// contract's rank, and is on the kernel's device. The output has the same layout with `channels_out` channels. Height and
    /// width change only if the padding of a convolution does not match its kernel.
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has another rank, number of channels or dtype than the contract, an axis of length zero, or fewer
    /// pixels than the convolutions need. Then nothing was computed.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Result<Tensor<B, D>, ShapeError> {
        self.admit(&x)?;
        Ok(self.layers.forward(x))
    }

    pub(crate) const fn layers(&self) -> &Layers<B> {
        &self.layers
    }

    pub(crate) fn admit<const D: usize>(&self, x: &Tensor<B, D>) -> Result<(), ShapeError> {
        let SlotContract { rank, channels_in, .. } = self.contract;
        if D != rank {
            return Err(ShapeError::Rank { expected: rank, got: D });
        }
        let axis = self.contract.channel_axis();
        let dims = x.dims();
        if dims[axis] != channels_in {
            return Err(ShapeError::Channels { axis, expected: channels_in, got: dims[axis] });
        }
        let dtype = self.contract.dtype;
        if x.dtype() != dtype.dtype() {
            return Err(ShapeError::Dtype { expected: dtype.safetensors_name(), got: format!("{:?}", x.dtype()) });
        }
        if let Some(axis) = dims.iter().position(|&length| length == 0) {
            return Err(ShapeError::Empty { axis });
        }
        if let [_, _, height, width] = dims[..]
            && (height < self.smallest[0] || width < self.smallest[1])
        {
            return Err(ShapeError::TooSmall { least: self.smallest, got: [height, width] });
        }
        Ok(())
    }
}
