//! Writes an artifact.

use std::collections::BTreeMap;

use crate::artifact::MANIFEST_KEY;
use crate::container::{self, Header, TensorEntry, excerpt};
use crate::plan::{self, Fill};
use crate::{ArtifactError, ArtifactLimits, Manifest};

/// The initial weights of a new kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Initialisation {
    /// The seed of the weights. The same seed and manifest give the same bytes on every machine.
    pub seed: u64,
    /// Whether the last layer with parameters starts at zero. Then the kernel's output is zero (in a residual, its input), and a
    /// newly grafted RESIDUAL seed changes nothing.
    ///
    /// Only the last linear map of that layer is zero (`output` of attention, `up` of low rank, `gamma` of a scale), because a layer that is
    /// zero throughout would never get a gradient. Squeeze-excite only scales and is skipped. Later layers can change the zeros; a
    /// sigmoid, for example, turns them into 0.5.
    pub zero_last: bool,
}

/// The file of a kernel with these weights. Each tensor is in row-major order, under its name in [`Manifest::tensors`], rounded
/// to the contract's element type. Get the file's digests with [`Digests::of`](crate::Digests::of).
///
/// # Errors
/// [`ArtifactError`] if the manifest is invalid; if a tensor is missing, unknown or not finite in that type; if it has another number of
/// elements (which the error gives as its shape); or if the file would exceed the default limits.
pub fn write_artifact(manifest: &Manifest, tensors: &BTreeMap<String, Vec<f32>>) -> Result<Vec<u8>, ArtifactError> {
    let limits = ArtifactLimits::default();
    let dtype = manifest.contract.dtype;
    let plan = manifest.tensors(&limits)?;
    if let Some(name) = tensors.keys().find(|name| plan.iter().all(|spec| spec.name != **name)) {
        return Err(ArtifactError::TensorUnknown { name: excerpt(name) });
    }
    let mut header = Header::default();
    header.metadata.insert(MANIFEST_KEY.into(), manifest.canonical());
    let mut data = Vec::new();
    for spec in plan {
        let name = excerpt(&spec.name);
        let Some(weights) = tensors.get(&spec.name) else {
            return Err(ArtifactError::TensorMissing { name });
        };
        if weights.len() != spec.shape.iter().product::<usize>() {
            return Err(ArtifactError::TensorShape { name, expected: spec.shape, got: vec![weights.len()] });
        }
        if let Some(index) = weights.iter().position(|weight| !dtype.holds(*weight)) {
            return Err(ArtifactError::NonFinite { name, index, got: weights[index] });
        }
        let data_offsets = [data.len(), data.len() + weights.len() * dtype.width()];
        weights.iter().for_each(|weight| dtype.encode(*weight, &mut data));
        header
            .tensors
            .insert(spec.name, TensorEntry { dtype: dtype.safetensors_name().into(), shape: spec.shape, data_offsets });
    }
    let mut bytes = container::write(&header)?;
    container::split(&bytes, limits.max_header_bytes)?;
    bytes.append(&mut data);
    if bytes.len() > limits.max_bytes {
        return Err(ArtifactError::Oversized { limit: limits.max_bytes, got: bytes.len() });
    }
    Ok(bytes)
}

/// The file of a new kernel. Weights and biases are uniform in `±1 / sqrt(fan_in)`, the default of Burn and PyTorch; norms start as
/// the identity. The numbers come from a generator in this crate, so that no other random number changes.
///
/// # Errors
/// [`ArtifactError`] if the manifest is invalid or the file would exceed the default limits.
pub fn initialise(manifest: &Manifest, initialisation: &Initialisation) -> Result<Vec<u8>, ArtifactError> {
    let mut random = SplitMix64(initialisation.seed);
    let zero = plan::last_map(&manifest.layers).filter(|_| initialisation.zero_last);
    let plan = manifest.tensors(&ArtifactLimits::default())?;
    let tensors = plan.into_iter().map(|spec| {
        let elements = spec.shape.iter().product();
        let zero = zero.as_ref().is_some_and(|path| spec.name.starts_with(path.as_str()));
        let weights = match spec.fill {
            Fill::Zeros => vec![0.0; elements],
            Fill::Ones | Fill::Uniform { .. } if zero => vec![0.0; elements],
            Fill::Ones => vec![1.0; elements],
            Fill::Uniform { fan_in } => {
                let bound = (fan_in as f32).sqrt().recip();
                (0..elements).map(|_| bound * random.symmetric()).collect()
            }
        };
        (spec.name, weights)
    });
    write_artifact(manifest, &tensors.collect())
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the finaliser of `SplittableRandom`.
struct SplitMix64(u64);

impl SplitMix64 {
    /// Uniform in [-1, 1), of 24 random bits.
    fn symmetric(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}
