//! What can go wrong with a grown network and its file.

use std::path::PathBuf;

use kasmina_isolation::Fault;
use kasmina_kernel_load::container::ContainerError;
use kasmina_kernel_load::{Digest, ManifestError};
use kasmina_leyline::{BlueprintId, SeedId, SlotId};

/// A fossil did not take part in a forward pass.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// Its kernel or its blend does not fit the activation.
    #[error("the fossil of seed {} cannot run at slot {}: {}", .0.seed, .0.slot, .0.detail)]
    Fault(Fault),
    /// The host's forward did not call `grafts.at` with this slot.
    #[error("the forward did not come to slot {slot}, where the fossil of seed {seed} is")]
    SlotNotReached { seed: SeedId, slot: SlotId },
}

impl ForwardError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.reason,
            Self::SlotNotReached { .. } => "slot_not_reached",
        }
    }
}

/// Why a network cannot be put together, written or read. Names from a file are cut at 80 characters.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum GrownError {
    #[strum(serialize = "grown_io")]
    #[error("{}: {detail}", path.display())]
    Io { path: PathBuf, detail: String },
    /// It is a directory, a device or a pipe.
    #[strum(serialize = "grown_not_a_file")]
    #[error("{} is not a file", path.display())]
    NotAFile { path: PathBuf },
    #[strum(serialize = "grown_oversized")]
    #[error("the file has {got} bytes, at most {limit} are allowed")]
    Oversized { limit: u64, got: u64 },
    #[strum(serialize = "grown_truncated")]
    #[error("the file is truncated: expected {expected} bytes, got {got}")]
    Truncated { expected: usize, got: usize },
    #[strum(serialize = "grown_trailing_bytes")]
    #[error("the file has trailing bytes: expected {expected} bytes, got {got}")]
    TrailingBytes { expected: usize, got: usize },
    #[strum(serialize = "grown_header_oversized")]
    #[error("the header has {got} bytes, at most {limit} are allowed; is it a safetensors file?")]
    HeaderOversized { limit: usize, got: u64 },
    #[strum(serialize = "grown_header_malformed")]
    #[error("the header is malformed: {detail}; is it a safetensors file?")]
    Header { detail: String },
    #[strum(serialize = "not_a_grown_network")]
    #[error("a safetensors file, but not of a grown network: its metadata has no {key:?}")]
    Foreign { key: &'static str },
    #[strum(serialize = "grown_digest_mismatch")]
    #[error("the file has digest {got}, but says {expected}")]
    Digest { expected: Digest, got: Digest },
    #[strum(serialize = "grown_version")]
    #[error("the file has format version {got}, expected {expected}")]
    Version { expected: u32, got: u32 },
    #[strum(serialize = "grown_manifest_malformed")]
    #[error("the manifest is malformed: {detail}")]
    Manifest { detail: String },
    #[strum(serialize = "too_many_fossils")]
    #[error("the network has {got} fossils, at most {limit} are allowed")]
    TooManyFossils { limit: usize, got: usize },
    #[strum(serialize = "seed_twice")]
    #[error("there are two fossils of seed {seed}")]
    SeedTwice { seed: SeedId },
    /// FOSSILIZE was answered, and the kernel joins the network in the manager's next call that holds it.
    #[strum(serialize = "join_pending")]
    #[error("the network is about to grow by {seeds:?}: call `settle` or train on, then save")]
    JoinPending { seeds: Vec<SeedId> },
    #[error("the kernel of seed {seed}: {error}")]
    Kernel { seed: SeedId, error: ManifestError },
    #[strum(serialize = "kernel_mismatch")]
    #[error("the kernel of seed {seed} does not have the layers of {blueprint}")]
    KernelMismatch { seed: SeedId, blueprint: BlueprintId },
    /// The file is of another host. `got` is what the file has.
    #[strum(serialize = "host_mismatch")]
    #[error("the file is of another host: {name} is {expected} here, and {got} in the file")]
    HostMismatch { name: String, expected: String, got: String },
    /// Two tensors would have one name, because a module of the host does not report its fields' names, or a seed's name ends like a layer.
    #[strum(serialize = "tensor_twice")]
    #[error("two tensors are called {name}")]
    TensorTwice { name: String },
    #[strum(serialize = "tensor_missing")]
    #[error("tensor {name} is missing")]
    TensorMissing { name: String },
    #[strum(serialize = "tensor_unknown")]
    #[error("tensor {name} belongs to nothing")]
    TensorUnknown { name: String },
    #[strum(serialize = "tensor_shape")]
    #[error("tensor {name} has shape {got:?}, expected {expected:?}")]
    TensorShape { name: String, expected: Vec<usize>, got: Vec<usize> },
    #[strum(serialize = "tensor_dtype")]
    #[error("tensor {name} has dtype {got}, expected {expected}")]
    TensorDtype { name: String, expected: &'static str, got: String },
    /// The bytes of the tensor do not begin where those of the one before it end, or they are not as many as it needs.
    #[strum(serialize = "tensor_layout")]
    #[error("tensor {name} is at bytes {got:?} of the data, expected {expected:?}")]
    TensorLayout { name: String, expected: [usize; 2], got: [usize; 2] },
    #[strum(serialize = "tensor_id")]
    #[error("tensor {name} has no parameter id")]
    TensorId { name: String },
    #[strum(serialize = "non_finite_weight")]
    #[error("tensor {name} is not finite at element {index}")]
    NonFinite { name: String, index: usize },
    #[strum(serialize = "tensor_not_bool")]
    #[error("tensor {name} holds neither 0 nor 1 at element {index}")]
    NotBool { name: String, index: usize },
    /// The numbers would change if they were converted.
    #[strum(serialize = "dtype_unsupported")]
    #[error("tensor {name} has dtype {dtype}, which this backend does not have")]
    DtypeUnsupported { name: String, dtype: &'static str },
}

impl GrownError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if let Self::Kernel { error, .. } = self { error.reason() } else { self.into() }
    }
}

impl From<ContainerError> for GrownError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Truncated { expected, got } => Self::Truncated { expected, got },
            ContainerError::HeaderOversized { limit, got } => Self::HeaderOversized { limit, got },
            ContainerError::Header { detail } => Self::Header { detail },
        }
    }
}
