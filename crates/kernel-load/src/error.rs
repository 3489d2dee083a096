//! Why an artifact is refused.

use crate::Digest;

/// Why a manifest does not describe a kernel. `at` is the path of the layer, for example `layers.2.Residual.layers.0`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON of a manifest.
    #[strum(serialize = "manifest_malformed")]
    #[error("the manifest is malformed: {detail}")]
    Malformed { detail: String },
    /// Written in another version of the format.
    #[strum(serialize = "unsupported_version")]
    #[error("the manifest has format version {got}, expected {expected}")]
    Version { expected: u32, got: u32 },
    /// A layer that is not in the vocabulary.
    #[strum(serialize = "unknown_layer")]
    #[error("{at}: unknown layer {name:?}")]
    UnknownLayer { at: String, name: String },
    /// A list of layers is empty.
    #[strum(serialize = "no_layers")]
    #[error("{at}: there are no layers; a kernel that does nothing has one identity layer")]
    NoLayers { at: String },
    /// More layers than the limit allows.
    #[strum(serialize = "too_many_layers")]
    #[error("more than {limit} layers")]
    TooManyLayers { limit: usize },
    /// Residuals inside residuals beyond the limit.
    #[strum(serialize = "nesting_too_deep")]
    #[error("{at}: residuals are nested deeper than {limit}")]
    TooDeep { at: String, limit: usize },
    /// The contract's rank is not 2, 3 or 4.
    #[strum(serialize = "contract_rank")]
    #[error("the contract has rank {got}, expected 2, 3 or 4")]
    ContractRank { got: usize },
    /// A layer that does not take tensors of the contract's rank.
    #[strum(serialize = "layer_rank")]
    #[error("{at}: {layer} takes rank {expected:?}, the contract has rank {got}")]
    Rank { at: String, layer: &'static str, expected: &'static [usize], got: usize },
    /// A layer gets another number of channels than it takes.
    #[strum(serialize = "layer_channels")]
    #[error("{at}: takes {expected} channels, gets {got}")]
    Channels { at: String, expected: usize, got: usize },
    /// The last layer gives another number of channels than the contract says.
    #[strum(serialize = "output_channels")]
    #[error("the contract gives {expected} channels, the layers give {got}")]
    Output { expected: usize, got: usize },
    /// A number outside its range.
    #[strum(serialize = "out_of_range")]
    #[error("{at}: {field} is {got}, expected {least} to {most}")]
    OutOfRange { at: String, field: &'static str, least: usize, most: usize, got: usize },
    /// A number of groups or heads that does not divide the channels.
    #[strum(serialize = "not_divisor")]
    #[error("{at}: {field} is {got}, which does not divide {of} channels")]
    NotDivisor { at: String, field: &'static str, of: usize, got: usize },
    /// The inner layers of a residual do not keep the shape.
    #[strum(serialize = "residual_shape")]
    #[error("{at}: the inner layers turn {channels} channels into {got} and grow height and width by {grown:?}")]
    Residual { at: String, channels: usize, got: usize, grown: [i64; 2] },
    /// The number of parameters does not fit in 64 bits.
    #[strum(serialize = "parameter_overflow")]
    #[error("the number of parameters overflows")]
    ParameterOverflow,
    /// More parameters than the limit allows.
    #[strum(serialize = "too_many_parameters")]
    #[error("{got} parameters, at most {limit} are allowed")]
    TooManyParameters { limit: u64, got: u64 },
    /// The declared number of parameters is wrong.
    #[strum(serialize = "parameter_count")]
    #[error("the manifest declares {got} parameters, its layers have {expected}")]
    ParameterCount { expected: u64, got: u64 },
}

impl ManifestError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}

/// Why bytes are not the artifact that the catalogue promises. Names of tensors are cut at 80 characters.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Larger than the limit.
    #[strum(serialize = "artifact_oversized")]
    #[error("the artifact has {got} bytes, at most {limit} are allowed")]
    Oversized { limit: usize, got: usize },
    /// Shorter than it says itself.
    #[strum(serialize = "artifact_truncated")]
    #[error("the artifact is truncated: {expected} bytes expected, got {got}")]
    Truncated { expected: usize, got: usize },
    /// Longer than it says itself.
    #[strum(serialize = "artifact_trailing_bytes")]
    #[error("the artifact has bytes behind its end: {expected} bytes expected, got {got}")]
    TrailingBytes { expected: usize, got: usize },
    /// Not the file that the catalogue names.
    #[strum(serialize = "checksum_mismatch")]
    #[error("the artifact's checksum is {got}, expected {expected}")]
    Checksum { expected: Digest, got: Digest },
    /// The header is larger than the limit.
    #[strum(serialize = "header_oversized")]
    #[error("the header has {got} bytes, at most {limit} are allowed")]
    HeaderOversized { limit: usize, got: u64 },
    /// The header is not a safetensors header.
    #[strum(serialize = "header_malformed")]
    #[error("the header is malformed: {detail}")]
    Header { detail: String },
    /// The header's metadata has no manifest.
    #[strum(serialize = "manifest_missing")]
    #[error("the header holds no manifest under {:?}", crate::MANIFEST_KEY)]
    ManifestMissing,
    /// The manifest does not describe a kernel.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Not the manifest that the catalogue names.
    #[strum(serialize = "guard_digest_mismatch")]
    #[error("the manifest's digest is {got}, expected {expected}")]
    GuardDigest { expected: Digest, got: Digest },
    /// A tensor that the manifest calls for is not there.
    #[strum(serialize = "tensor_missing")]
    #[error("tensor {name} is missing")]
    TensorMissing { name: String },
    /// A tensor that the manifest does not call for.
    #[strum(serialize = "tensor_unknown")]
    #[error("tensor {name} belongs to no layer")]
    TensorUnknown { name: String },
    /// A tensor of another element type.
    #[strum(serialize = "tensor_dtype")]
    #[error("tensor {name} has dtype {got}, expected {expected}")]
    TensorDtype { name: String, expected: &'static str, got: String },
    /// A tensor of another shape.
    #[strum(serialize = "tensor_shape")]
    #[error("tensor {name} has shape {got:?}, expected {expected:?}")]
    TensorShape { name: String, expected: Vec<usize>, got: Vec<usize> },
    /// A tensor whose bytes lie elsewhere than right behind those of the one before it, or are not as many as it needs.
    #[strum(serialize = "tensor_layout")]
    #[error("tensor {name} lies at bytes {got:?} of the data, expected {expected:?}")]
    TensorLayout { name: String, expected: [usize; 2], got: [usize; 2] },
    /// A weight that is infinite or not a number.
    #[strum(serialize = "non_finite_weight")]
    #[error("tensor {name} holds {got} at element {index}")]
    NonFinite { name: String, index: usize, got: f32 },
}

impl ArtifactError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if let Self::Manifest(error) = self { error.reason() } else { self.into() }
    }
}
