//! A kernel that has become part of its host.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::backend::Backend;
use kasmina_blending::BlendConfig;
use kasmina_kernel_load::{
    ArtifactError, ArtifactLimits, Digest, Digests, Initialisation, KernelModule, Manifest, initialise, verify,
    write_artifact,
};
use kasmina_leyline::{SeedId, SlotId, TrainingRunId};
use serde::{Deserialize, Serialize};

use crate::GrownError;
use crate::collect::{Collect, Kind};

/// The kernel is there already: no limit would save anything.
const NO_LIMITS: ArtifactLimits = ArtifactLimits {
    max_bytes: usize::MAX,
    max_header_bytes: usize::MAX,
    max_parameters: u64::MAX,
    max_layers: usize::MAX,
    max_nesting: usize::MAX,
};

/// A kernel that has become part of its host, with where it sits and where it came from. It is a Burn module, and its parameters are those
/// of its kernel.
#[derive(Module, Debug)]
pub struct Fossil<B: Backend> {
    kernel: KernelModule<B>,
    #[module(skip)]
    spec: Arc<FossilSpec>,
}

/// All of a fossil but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FossilSpec {
    /// The seed that it was. No two fossils of a network have the same.
    pub seed: SeedId,
    /// Where it is grafted.
    pub slot: SlotId,
    /// How it is blended in. Its alpha is 1.
    pub blend: BlendConfig,
    /// The layers of its kernel, and the slots that they fit.
    pub manifest: Manifest,
    /// Where it came from.
    #[serde(default)]
    pub provenance: Provenance,
}

/// Where a fossil came from. Nothing is computed from it, and all of it may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provenance {
    /// The checksum of the artifact that the kernel was built from, before it learned.
    pub artifact: Option<Digest>,
    /// The run in which it grew.
    pub training_run: Option<TrainingRunId>,
    /// The step of the run after which it was part of the host.
    pub step: Option<u64>,
    /// The attributes of the verdict that let it stay, by name.
    pub verdict: BTreeMap<String, String>,
}

impl<B: Backend> Fossil<B> {
    /// A fossil of this kernel.
    ///
    /// # Errors
    /// [`GrownError::Kernel`] if the manifest is invalid; [`GrownError::KernelMismatch`] if the kernel is not one of this manifest.
    pub fn new(spec: FossilSpec, kernel: KernelModule<B>) -> Result<Self, GrownError> {
        let planned =
            spec.manifest.tensors(&NO_LIMITS).map_err(|error| GrownError::Kernel { seed: spec.seed.clone(), error })?;
        let got = Collect::shapes(&kernel);
        let same = planned.len() == got.len()
            && kernel.contract() == spec.manifest.contract
            && planned.iter().zip(&got).all(|(planned, got)| {
                (&planned.name, &planned.shape, Kind::Float) == (&got.name, &got.shape, got.kind)
            });
        if !same {
            return Err(GrownError::KernelMismatch { seed: spec.seed, blueprint: spec.manifest.blueprint_id });
        }
        Ok(Self { kernel, spec: Arc::new(spec) })
    }

    /// A fossil with this slot, blend and kernel, but new weights: for a network of another's architecture that is trained from the start. It
    /// came from no seed that proved itself, so it has no provenance.
    ///
    /// # Errors
    /// [`ArtifactError`] if the manifest is invalid or exceeds the default limits.
    pub fn fresh(spec: FossilSpec, weights: &Initialisation, device: &B::Device) -> Result<Self, ArtifactError> {
        let (bytes, limits) = (initialise(&spec.manifest, weights)?, ArtifactLimits::default());
        let kernel = verify(&bytes, &Digests::of(&bytes, &limits)?, &limits)?.build(device);
        Ok(Self { kernel, spec: Arc::new(FossilSpec { provenance: Provenance::default(), ..spec }) })
    }

    /// All of it but its weights.
    #[must_use]
    pub fn spec(&self) -> &FossilSpec {
        &self.spec
    }

    /// The seed that it was.
    #[must_use]
    pub fn seed(&self) -> &SeedId {
        &self.spec.seed
    }

    /// Where it is grafted.
    #[must_use]
    pub fn slot(&self) -> &SlotId {
        &self.spec.slot
    }

    /// How it is blended in.
    #[must_use]
    pub fn blend(&self) -> &BlendConfig {
        &self.spec.blend
    }

    /// Its kernel.
    #[must_use]
    pub fn kernel(&self) -> &KernelModule<B> {
        &self.kernel
    }

    /// The kernel with the weights that it has now, as an artifact that can be planted elsewhere. Its blueprint is the one that it was
    /// built from; its digests are [`Digests::of`](kasmina_kernel_load::Digests::of) the bytes.
    ///
    /// # Errors
    /// [`ArtifactError`] if a weight is not finite or the file would exceed the default limits.
    pub fn to_artifact(&self) -> Result<Vec<u8>, ArtifactError> {
        let tensors = Collect::tensors(&self.kernel).into_iter();
        let tensors = tensors.map(|(place, data)| (place.name, data.iter::<f32>().collect()));
        write_artifact(&self.spec.manifest, &tensors.collect())
    }
}
