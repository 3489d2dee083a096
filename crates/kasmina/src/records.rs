//! What the journal holds of a run: changes of the engine's state, and the names of the weights that go with it.

use std::collections::BTreeMap;

use kasmina_engine::{Delta, State};
use kasmina_kernel_load::Digest as ArtifactDigest;
use kasmina_leyline::{Monotonic, SeedId, UnixTime};
use kasmina_rollback::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::CheckpointError;

/// The version of these records. A record says its own in its first byte.
const VERSION: u8 = 5;

/// Where the weights of one seed are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Weights {
    /// What the kernel is built from.
    pub(crate) manifest: String,
    /// Its tensors and their ids, as safetensors.
    pub(crate) kernel: Digest,
    /// The optimizer's state.
    pub(crate) optimizer: Digest,
    /// The checksum of the artifact that the kernel was built from, if it is known.
    pub(crate) artifact: Option<ArtifactDigest>,
}

impl Weights {
    pub(crate) const fn blobs(&self) -> [Digest; 2] {
        [self.kernel, self.optimizer]
    }
}

impl EpochRecord {
    pub(crate) fn into_network(self) -> Network {
        Network { step: self.state.run.step, parts: self.parts }
    }
}

impl Network {
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.parts.values().copied()
    }
}

/// The names of all weights.
pub(crate) type WeightsBySeed = BTreeMap<SeedId, Weights>;

/// Where a whole network is: the host and its fossils as they were after a step, and what else the trainer gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) step: u64,
    /// The trainer's parts, by name.
    pub(crate) parts: BTreeMap<String, Digest>,
}

/// A change, as one batch of the journal holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeltaRecord {
    /// How many processes had worked on the run before the one that wrote it.
    pub(crate) incarnation: u64,
    /// The monotonic clock of the process that wrote it.
    pub(crate) at: Monotonic,
    pub(crate) delta: Delta,
    /// Weights that were saved, or that went with their seed.
    pub(crate) weights: BTreeMap<SeedId, Option<Weights>>,
    /// The network, if it was saved: when the run began, a fossil joined or left, or the run went back.
    pub(crate) network: Option<Network>,
    /// The ledger's watermark.
    pub(crate) watermark: Option<UnixTime>,
    /// Critical packets in the journal that no sink had taken, if others than before.
    pub(crate) undelivered: Option<Vec<u64>>,
}

/// All of it, as a snapshot holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    /// The run that it is of.
    pub(crate) run: String,
    /// How many processes had worked on the run before this one.
    pub(crate) incarnation: u64,
    pub(crate) at: Monotonic,
    pub(crate) state: State,
    pub(crate) weights: WeightsBySeed,
    pub(crate) network: Option<Network>,
    pub(crate) watermark: Option<UnixTime>,
    pub(crate) undelivered: Vec<u64>,
}

/// A checkpoint that a rollback can go back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) at: Monotonic,
    pub(crate) state: State,
    pub(crate) weights: WeightsBySeed,
    /// The trainer's parts, by name.
    pub(crate) parts: BTreeMap<String, Digest>,
}

/// A record as bytes.
pub(crate) fn encode<R: Serialize>(record: &R) -> Result<Vec<u8>, CheckpointError> {
    postcard::to_extend(record, vec![VERSION]).map_err(|error| malformed(&error))
}

/// The record that these bytes say.
pub(crate) fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, CheckpointError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| malformed(&error)),
        Some((&got, _)) => Err(CheckpointError::WrongVersion { reads: VERSION.into(), got: got.into() }),
        None => Err(malformed(&"it is empty")),
    }
}

fn malformed(detail: &dyn std::fmt::Display) -> CheckpointError {
    CheckpointError::Malformed { what: "a record of the journal", detail: detail.to_string() }
}
