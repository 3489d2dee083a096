//! Why an artifact or its manifest is refused.

use crate::Digest;
use crate::container::ContainerError;

/// Why a manifest does not describe a kernel. `at` is the path of the layer, for example `layers.2.Residual.layers.0`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum ManifestError {
    #[strum(serialize = "manifest_malformed")]
    #[error("the manifest is malformed: {detail}")]
    Malformed { detail: String },
    #[strum(serialize = "unsupported_version")]
    #[error("the manifest has format version {got}, expected {expected}")]
    Version { expected: u32, got: u32 },
    #[strum(serialize = "unknown_layer")]
    #[error("{at}: unknown layer {name:?}")]
    UnknownLayer { at: String, name: String },
    #[strum(serialize = "no_layers")]
    #[error("{at}: the list of layers is empty; a kernel that does nothing has one identity layer")]
    NoLayers { at: String },
    #[strum(serialize = "too_many_layers")]
    #[error("the manifest has more than {limit} layers")]
    TooManyLayers { limit: usize },
    #[strum(serialize = "nesting_too_deep")]
    #[error("{at}: residuals are nested deeper than {limit}")]
    TooDeep { at: String, limit: usize },
    #[strum(serialize = "contract_rank")]
    #[error("the contract has rank {got}, expected 2, 3 or 4")]
    ContractRank { got: usize },
    #[strum(serialize = "layer_rank")]
    #[error("{at}: {layer} takes rank {expected:?}, but the contract has rank {got}")]
    Rank { at: String, layer: &'static str, expected: &'static [usize], got: usize },
    #[strum(serialize = "layer_channels")]
    #[error("{at}: takes {expected} channels, but gets {got}")]
    Channels { at: String, expected: usize, got: usize },
    #[strum(serialize = "output_channels")]
    #[error("the contract has {expected} output channels, but the layers give {got}")]
    Output { expected: usize, got: usize },
    #[strum(serialize = "out_of_range")]
    #[error("{at}: {field} is {got}, expected {least} to {most}")]
    OutOfRange { at: String, field: &'static str, least: usize, most: usize, got: usize },
    #[strum(serialize = "not_divisor")]
    #[error("{at}: {field} is {got}, which does not divide {of} channels")]
    NotDivisor { at: String, field: &'static str, of: usize, got: usize },
    #[strum(serialize = "residual_shape")]
    #[error("{at}: the inner layers turn {channels} channels into {got} and grow height and width by {grown:?}")]
    Residual { at: String, channels: usize, got: usize, grown: [i64; 2] },
    #[strum(serialize = "parameter_overflow")]
    #[error("the number of parameters overflows")]
    ParameterOverflow,
    #[strum(serialize = "too_many_parameters")]
    #[error("the kernel has {got} parameters, at most {limit} are allowed")]
    TooManyParameters { limit: u64, got: u64 },
    #[strum(serialize = "parameter_count")]
    #[error("the manifest declares {got} parameters, but its layers have {expected}")]
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
    #[strum(serialize = "artifact_oversized")]
    #[error("the artifact has {got} bytes, at most {limit} are allowed")]
    Oversized { limit: usize, got: usize },
    #[strum(serialize = "artifact_truncated")]
    #[error("the artifact is truncated: expected {expected} bytes, got {got}")]
    Truncated { expected: usize, got: usize },
    #[strum(serialize = "artifact_trailing_bytes")]
    #[error("the artifact has trailing bytes: expected {expected} bytes, got {got}")]
    TrailingBytes { expected: usize, got: usize },
    #[strum(serialize = "checksum_mismatch")]
    #[error("the artifact's checksum is {got}, expected {expected}")]
    Checksum { expected: Digest, got: Digest },
    #[strum(serialize = "header_oversized")]
    #[error("the header has {got} bytes, at most {limit} are allowed")]
    HeaderOversized { limit: usize, got: u64 },
    #[strum(serialize = "header_malformed")]
    #[error("the header is malformed: {detail}")]
    Header { detail: String },
    #[strum(serialize = "manifest_missing")]
    #[error("the header has no manifest under {:?}", crate::MANIFEST_KEY)]
    ManifestMissing,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[strum(serialize = "guard_digest_mismatch")]
    #[error("the manifest's digest is {got}, expected {expected}")]
    GuardDigest { expected: Digest, got: Digest },
    #[strum(serialize = "tensor_missing")]
    #[error("tensor {name} is missing")]
    TensorMissing { name: String },
    #[strum(serialize = "tensor_unknown")]
    #[error("tensor {name} belongs to no layer")]
    TensorUnknown { name: String },
    #[strum(serialize = "tensor_dtype")]
    #[error("tensor {name} has dtype {got}, expected {expected}")]
    TensorDtype { name: String, expected: &'static str, got: String },
    #[strum(serialize = "tensor_shape")]
    #[error("tensor {name} has shape {got:?}, expected {expected:?}")]
    TensorShape { name: String, expected: Vec<usize>, got: Vec<usize> },
    /// The bytes of the tensor do not begin where those of the one before it end, or they are not as many as it needs.
    #[strum(serialize = "tensor_layout")]
    #[error("tensor {name} is at bytes {got:?} of the data, expected {expected:?}")]
    TensorLayout { name: String, expected: [usize; 2], got: [usize; 2] },
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

impl From<ContainerError> for ArtifactError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Truncated { expected, got } => Self::Truncated { expected, got },
            ContainerError::HeaderOversized { limit, got } => Self::HeaderOversized { limit, got },
            ContainerError::Header { detail } => Self::Header { detail },
        }
    }
}
