//! Reads an artifact: all checks first, then the parameters.

use std::fmt;

use burn::tensor::backend::Backend;

use crate::check::{self, Spatial};
use crate::container::{self, Header, excerpt};
use crate::plan::TensorSpec;
use crate::{ArtifactError, ArtifactLimits, Digest, Digests, KernelDtype, KernelModule, Manifest};

/// The key of the manifest in the header's metadata.
pub const MANIFEST_KEY: &str = "kasmina.manifest";

/// An artifact that passed all checks of [`verify`]. There is no other way to make one.
///
/// It holds the parameters as 32-bit floats (`4 * parameter_count` bytes), not the file.
#[derive(Clone, PartialEq)]
pub struct VerifiedArtifact {
    manifest: Manifest,
    digests: Digests,
    spatial: Spatial,
    /// All tensors, one after the other, in the order in which the module visits them.
    parameters: Vec<f32>,
}

impl VerifiedArtifact {
    /// The kernel's layers and contract.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digests that the artifact was verified against.
    #[must_use]
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The size of the parameters in memory, in bytes: four for each, whatever the element type in the file.
    #[must_use]
    pub fn parameters_bytes(&self) -> u64 {
        (self.parameters.len() * size_of::<f32>()) as u64
    }

    /// Builds the module on `device`. Every call makes new parameters with new ids, which are initialised at once and require
    /// gradients. No random number is drawn from the backend.
    #[must_use]
    pub fn build<B: Backend>(&self, device: &B::Device) -> KernelModule<B> {
        KernelModule::new(&self.manifest, self.spatial, &self.parameters, device)
    }
}

impl fmt::Debug for VerifiedArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedArtifact")
            .field("manifest", &self.manifest)
            .field("digests", &self.digests)
            .finish_non_exhaustive()
    }
}

impl Digests {
    /// The digests of an artifact, for a catalogue. Only the header is parsed.
    ///
    /// # Errors
    /// [`ArtifactError`] if there is no manifest.
    pub fn of(bytes: &[u8], limits: &ArtifactLimits) -> Result<Self, ArtifactError> {
        let (header, _) = container::split(bytes, limits.max_header_bytes)?;
        let guard_digest = manifest(&container::parse(header)?)?.guard_digest();
        Ok(Self { checksum: Digest::of(bytes), guard_digest })
    }
}

/// Checks `bytes` against the digests from the catalogue, and extracts the parameters.
///
/// The checks run in this order, and the first that fails is the error: size, checksum, header, manifest, guard digest; then for
/// all tensors their presence, shape, dtype and place in the file; then that every weight is finite. Nothing is executed and
/// nothing reaches a device. If it wrongly accepts an artifact, a stranger's weights are trained; if it wrongly refuses one, one
/// graft fails.
///
/// # Errors
/// [`ArtifactError`] has a variant for each check.
pub fn verify(bytes: &[u8], digests: &Digests, limits: &ArtifactLimits) -> Result<VerifiedArtifact, ArtifactError> {
    if bytes.len() > limits.max_bytes {
        return Err(ArtifactError::Oversized { limit: limits.max_bytes, got: bytes.len() });
    }
    let got = Digest::of(bytes);
    if got != digests.checksum {
        return Err(ArtifactError::Checksum { expected: digests.checksum, got });
    }
    let (text, data) = container::split(bytes, limits.max_header_bytes)?;
    let header = container::parse(text)?;
    let manifest = manifest(&header)?;
    let checked = check::manifest(&manifest, limits)?;
    let got = manifest.guard_digest();
    if got != digests.guard_digest {
        return Err(ArtifactError::GuardDigest { expected: digests.guard_digest, got });
    }
    let dtype = manifest.contract.dtype;
    describe(&header, &checked.plan, dtype)?;
    let end = lay_out(&header, dtype)?;
    let (expected, got) = (bytes.len() - data.len() + end, bytes.len());
    if got < expected {
        return Err(ArtifactError::Truncated { expected, got });
    }
    if got > expected {
        return Err(ArtifactError::TrailingBytes { expected, got });
    }
    let parameters = decode(&header, &checked.plan, dtype, data)?;
    Ok(VerifiedArtifact { manifest, digests: *digests, spatial: checked.spatial, parameters })
}

fn manifest(header: &Header) -> Result<Manifest, ArtifactError> {
    let text = header.metadata.get(MANIFEST_KEY).ok_or(ArtifactError::ManifestMissing)?;
    Ok(Manifest::from_json(text)?)
}

/// Checks that the header lists exactly the planned tensors, with their shapes and dtype.
fn describe(header: &Header, plan: &[TensorSpec], dtype: KernelDtype) -> Result<(), ArtifactError> {
    let missing = |spec: &TensorSpec| ArtifactError::TensorMissing { name: excerpt(&spec.name) };
    let entries: Vec<_> = plan
        .iter()
        .map(|spec| header.tensors.get(&spec.name).map(|entry| (spec, entry)).ok_or_else(|| missing(spec)))
        .collect::<Result<_, _>>()?;
    if header.tensors.len() > plan.len() {
        let planned: std::collections::BTreeSet<_> = plan.iter().map(|spec| &spec.name).collect();
        if let Some(name) = header.tensors.keys().find(|name| !planned.contains(name)) {
            return Err(ArtifactError::TensorUnknown { name: excerpt(name) });
        }
    }
    for (spec, entry) in &entries {
        if entry.shape != spec.shape {
            let (expected, got) = (spec.shape.clone(), entry.shape.iter().copied().take(8).collect());
            return Err(ArtifactError::TensorShape { name: excerpt(&spec.name), expected, got });
        }
    }
    for (spec, entry) in &entries {
        let expected = dtype.safetensors_name();
        if entry.dtype != expected {
            let (name, got) = (excerpt(&spec.name), excerpt(&entry.dtype));
            return Err(ArtifactError::TensorDtype { name, expected, got });
        }
    }
    Ok(())
}

/// Checks that the tensors follow each other without gaps, in some order. Returns the end of the last one.
fn lay_out(header: &Header, dtype: KernelDtype) -> Result<usize, ArtifactError> {
    let mut entries: Vec<_> = header.tensors.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    entries.into_iter().try_fold(0_usize, |begin, (name, entry)| {
        let bytes = entry.shape.iter().fold(dtype.width(), |product, &axis| product.saturating_mul(axis));
        let expected = [begin, begin.saturating_add(bytes)];
        let (name, got) = (excerpt(name), entry.data_offsets);
        if got == expected { Ok(expected[1]) } else { Err(ArtifactError::TensorLayout { name, expected, got }) }
    })
}

/// The weights in the plan's order, all finite.
fn decode(header: &Header, plan: &[TensorSpec], dtype: KernelDtype, data: &[u8]) -> Result<Vec<f32>, ArtifactError> {
    let mut parameters = Vec::with_capacity(data.len() / dtype.width());
    for spec in plan {
        let missing = || ArtifactError::TensorMissing { name: excerpt(&spec.name) };
        let [begin, end] = header.tensors.get(&spec.name).ok_or_else(missing)?.data_offsets;
        let first = parameters.len();
        dtype.decode(data.get(begin..end).ok_or_else(missing)?, &mut parameters);
        // Without an early exit, the compiler looks at many numbers at once.
        if parameters[first..].iter().fold(true, |finite, weight| finite & weight.is_finite()) {
            continue;
        }
        if let Some(index) = parameters[first..].iter().position(|weight| !weight.is_finite()) {
            let (name, got) = (excerpt(&spec.name), parameters[first + index]);
            return Err(ArtifactError::NonFinite { name, index, got });
        }
    }
    Ok(parameters)
}
