//! Why an artifact is refused.

use crate::Digest;

/// Why a manifest does not describe a kernel. `at` is the path of the layer, for example `layers.2.Residual.layers.0`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON of a manifest.
    #[error("the manifest is malformed: {detail}")]
    Malformed {
        /// What the parser says.
        detail: String,
    },
    /// Written in another version of the format.
    #[error("the manifest has format version {got}, expected {expected}")]
    Version {
        /// The version that is read here.
        expected: u32,
        /// The version of the manifest.
        got: u32,
    },
    /// A layer that is not in the vocabulary.
    #[error("{at}: unknown layer {name:?}")]
    UnknownLayer {
        /// Where.
        at: String,
        /// Its name, at most 80 characters of it.
        name: String,
    },
    /// A list of layers is empty.
    #[error("{at}: there are no layers; a kernel that does nothing has one identity layer")]
    NoLayers {
        /// Where.
        at: String,
    },
    /// More layers than the limit allows.
    #[error("more than {limit} layers")]
    TooManyLayers {
        /// The limit.
        limit: usize,
    },
    /// Residuals inside residuals beyond the limit.
    #[error("{at}: residuals are nested deeper than {limit}")]
    TooDeep {
        /// Where.
        at: String,
        /// The limit.
        limit: usize,
    },
    /// The contract's rank is not 2, 3 or 4.
    #[error("the contract has rank {got}, expected 2, 3 or 4")]
    ContractRank {
        /// The rank.
        got: usize,
    },
    /// A layer that does not take tensors of the contract's rank.
    #[error("{at}: {layer} takes rank {expected:?}, the contract has rank {got}")]
    Rank {
        /// Where.
        at: String,
        /// The layer's name.
        layer: &'static str,
        /// The ranks that it takes.
        expected: &'static [usize],
        /// The contract's rank.
        got: usize,
    },
    /// A layer gets another number of channels than it takes.
    #[error("{at}: takes {expected} channels, gets {got}")]
    Channels {
        /// Where.
        at: String,
        /// What the layer takes.
        expected: usize,
        /// What it gets.
        got: usize,
    },
    /// The last layer gives another number of channels than the contract says.
    #[error("the contract gives {expected} channels, the layers give {got}")]
    Output {
        /// What the contract says.
        expected: usize,
        /// What the layers give.
        got: usize,
    },
    /// A number outside its range.
    #[error("{at}: {field} is {got}, expected {least} to {most}")]
    OutOfRange {
        /// Where.
        at: String,
        /// Which number.
        field: &'static str,
        /// Its smallest value.
        least: usize,
        /// Its largest value.
        most: usize,
        /// Its value.
        got: usize,
    },
    /// A number of groups or heads that does not divide the channels.
    #[error("{at}: {field} is {got}, which does not divide {of} channels")]
    NotDivisor {
        /// Where.
        at: String,
        /// Which number.
        field: &'static str,
        /// The channels.
        of: usize,
        /// The number.
        got: usize,
    },
    /// The inner layers of a residual do not keep the shape.
    #[error("{at}: the inner layers turn {channels} channels into {got} and grow height and width by {grown:?}")]
    Residual {
        /// Where.
        at: String,
        /// Channels that go in.
        channels: usize,
        /// Channels that come out.
        got: usize,
        /// Growth of height and width, expected 0 and 0.
        grown: [i64; 2],
    },
    /// The number of parameters does not fit in 64 bits.
    #[error("the number of parameters overflows")]
    ParameterOverflow,
    /// More parameters than the limit allows.
    #[error("{got} parameters, at most {limit} are allowed")]
    TooManyParameters {
        /// The limit.
        limit: u64,
        /// The parameters of the layers.
        got: u64,
    },
    /// The declared number of parameters is wrong.
    #[error("the manifest declares {got} parameters, its layers have {expected}")]
    ParameterCount {
        /// The parameters of the layers.
        expected: u64,
        /// The declared number.
        got: u64,
    },
}

impl ManifestError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "manifest_malformed",
            Self::Version { .. } => "unsupported_version",
            Self::UnknownLayer { .. } => "unknown_layer",
            Self::NoLayers { .. } => "no_layers",
            Self::TooManyLayers { .. } => "too_many_layers",
            Self::TooDeep { .. } => "nesting_too_deep",
            Self::ContractRank { .. } => "contract_rank",
            Self::Rank { .. } => "layer_rank",
            Self::Channels { .. } => "layer_channels",
            Self::Output { .. } => "output_channels",
            Self::OutOfRange { .. } => "out_of_range",
            Self::NotDivisor { .. } => "not_divisor",
            Self::Residual { .. } => "residual_shape",
            Self::ParameterOverflow => "parameter_overflow",
            Self::TooManyParameters { .. } => "too_many_parameters",
            Self::ParameterCount { .. } => "parameter_count",
        }
    }
}

/// Why bytes are not the artifact that the catalogue promises. Names of tensors are cut at 80 characters.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Larger than the limit.
    #[error("the artifact has {got} bytes, at most {limit} are allowed")]
    Oversized {
        /// The limit.
        limit: usize,
        /// Its size.
        got: usize,
    },
    /// Shorter than it says itself.
    #[error("the artifact is truncated: {expected} bytes expected, got {got}")]
    Truncated {
        /// The size that its header implies.
        expected: usize,
        /// Its size.
        got: usize,
    },
    /// Longer than it says itself.
    #[error("the artifact has bytes behind its end: {expected} bytes expected, got {got}")]
    TrailingBytes {
        /// The size that its header implies.
        expected: usize,
        /// Its size.
        got: usize,
    },
    /// Not the file that the catalogue names.
    #[error("the artifact's checksum is {got}, expected {expected}")]
    Checksum {
        /// The catalogue's.
        expected: Digest,
        /// The file's.
        got: Digest,
    },
    /// The header is larger than the limit.
    #[error("the header has {got} bytes, at most {limit} are allowed")]
    HeaderOversized {
        /// The limit.
        limit: usize,
        /// Its declared size.
        got: u64,
    },
    /// The header is not a safetensors header.
    #[error("the header is malformed: {detail}")]
    Header {
        /// What the parser says.
        detail: String,
    },
    /// The header's metadata has no manifest.
    #[error("the header holds no manifest under {:?}", crate::MANIFEST_KEY)]
    ManifestMissing,
    /// The manifest does not describe a kernel.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Not the manifest that the catalogue names.
    #[error("the manifest's digest is {got}, expected {expected}")]
    GuardDigest {
        /// The catalogue's.
        expected: Digest,
        /// The manifest's.
        got: Digest,
    },
    /// A tensor that the manifest calls for is not there.
    #[error("tensor {name} is missing")]
    TensorMissing {
        /// Its name.
        name: String,
    },
    /// A tensor that the manifest does not call for.
    #[error("tensor {name} belongs to no layer")]
    TensorUnknown {
        /// Its name.
        name: String,
    },
    /// A tensor of another element type.
    #[error("tensor {name} has dtype {got}, expected {expected}")]
    TensorDtype {
        /// Its name.
        name: String,
        /// The contract's dtype, as safetensors spells it.
        expected: &'static str,
        /// The tensor's.
        got: String,
    },
    /// A tensor of another shape.
    #[error("tensor {name} has shape {got:?}, expected {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape that the manifest calls for.
        expected: Vec<usize>,
        /// The tensor's.
        got: Vec<usize>,
    },
    /// A tensor whose bytes lie elsewhere than right behind those of the one before it, or are not as many as it needs.
    #[error("tensor {name} lies at bytes {got:?} of the data, expected {expected:?}")]
    TensorLayout {
        /// Its name.
        name: String,
        /// Where it begins and ends.
        expected: [usize; 2],
        /// Where the header says that it does.
        got: [usize; 2],
    },
    /// A weight that is infinite or not a number.
    #[error("tensor {name} holds {got} at element {index}")]
    NonFinite {
        /// The tensor.
        name: String,
        /// The element.
        index: usize,
        /// Its value.
        got: f32,
    },
}

impl ArtifactError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Oversized { .. } => "artifact_oversized",
            Self::Truncated { .. } => "artifact_truncated",
            Self::TrailingBytes { .. } => "artifact_trailing_bytes",
            Self::Checksum { .. } => "checksum_mismatch",
            Self::HeaderOversized { .. } => "header_oversized",
            Self::Header { .. } => "header_malformed",
            Self::ManifestMissing => "manifest_missing",
            Self::Manifest(error) => error.reason(),
            Self::GuardDigest { .. } => "guard_digest_mismatch",
            Self::TensorMissing { .. } => "tensor_missing",
            Self::TensorUnknown { .. } => "tensor_unknown",
            Self::TensorDtype { .. } => "tensor_dtype",
            Self::TensorShape { .. } => "tensor_shape",
            Self::TensorLayout { .. } => "tensor_layout",
            Self::NonFinite { .. } => "non_finite_weight",
        }
    }
}
