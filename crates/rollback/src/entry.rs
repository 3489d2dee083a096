//! What is journaled.

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};
use serde::{Deserialize, Serialize};

use crate::{Digest, fields};

/// One journaled entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 1 for the first entry of a store, one more for each that follows, never reused.
    pub sequence: u64,
    /// What happened.
    pub entry: Entry,
}

/// Something that must not be forgotten.
///
/// A variant's position is its number in the file (see `docs/DURABILITY.md`): variants and their fields are never removed or
/// reordered, new variants are only appended. A reader that meets a number it does not know refuses the record
/// ([`RecordError::UnknownEntry`](crate::RecordError::UnknownEntry)) and does not skip it.
///
/// `wire`, `description`, `bytes` and `packet` are opaque here: the crate above gives them a meaning and a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A nonce was used up. Restored into the ledger after a restart, or the command could be sent again.
    NonceSeen {
        /// The nonce.
        #[serde(with = "fields::text")]
        command_id: CommandId,
        /// When its sender issued it.
        #[serde(with = "fields::unix_nanos")]
        issued_at: UnixTime,
    },
    /// A command was verified and decided.
    Accepted {
        /// The command's id.
        #[serde(with = "fields::text")]
        command_id: CommandId,
        /// The command as it came over the wire, byte for byte, so that its signature can be checked again.
        #[serde(with = "serde_bytes")]
        wire: Vec<u8>,
    },
    /// A command was refused and must be answered the same way again.
    Refused {
        /// Its id as it came: a refused command may have none, or one that is not a [`CommandId`].
        command_id: String,
        /// The machine-readable reason.
        reason: String,
    },
    /// The owning process gave an order, unsigned.
    Ordered {
        /// The order, encoded by the crate above.
        #[serde(with = "serde_bytes")]
        description: Vec<u8>,
    },
    /// A seed changed its stage. For audit: the state itself is in [`Delta`](Self::Delta).
    Moved {
        /// The seed.
        #[serde(with = "fields::text")]
        seed_id: SeedId,
        /// The stage it left.
        #[serde(with = "fields::number")]
        from: SeedLifecycleStage,
        /// The stage it entered.
        #[serde(with = "fields::number")]
        to: SeedLifecycleStage,
        /// The gate that let it pass, if one guards the move.
        #[serde(with = "fields::optional_number")]
        gate: Option<SeedLifecycleGate>,
        /// When, by the wall clock, in nanoseconds.
        #[serde(with = "fields::unix_nanos")]
        at: UnixTime,
    },
    /// The records of the engine that changed.
    Delta {
        /// The records, encoded by the crate above.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// The blobs that they name.
        blobs: Vec<Digest>,
    },
    /// The whole state. Recovery starts from the newest one that can be read and applies the deltas after it.
    Snapshot {
        /// The state, encoded by the crate above.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// The blobs that it names.
        blobs: Vec<Digest>,
    },
    /// A checkpoint that a rollback can go back to. A later one of the same epoch replaces it.
    Epoch {
        /// The epoch.
        epoch: u64,
        /// The training step at which it was taken.
        step: u64,
        /// The state, encoded by the crate above.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// The blobs that it names.
        blobs: Vec<Digest>,
    },
    /// No rollback will go back to this checkpoint any more; its blobs may be deleted.
    EpochDropped {
        /// The epoch.
        epoch: u64,
    },
    /// The run, or one seed, went back to a checkpoint.
    RolledBack {
        /// The seed that went back alone; `None` if everything did.
        #[serde(with = "fields::optional_text")]
        seed_id: Option<SeedId>,
        /// The epoch of the checkpoint.
        epoch: u64,
    },
    /// A critical packet that no sink has accepted yet.
    Telemetry {
        /// The encoded packet, byte for byte.
        #[serde(with = "serde_bytes")]
        packet: Vec<u8>,
    },
    /// An operator set the watermark of the replay protection.
    WatermarkReset {
        /// Commands issued before this time are refused from here on.
        #[serde(with = "fields::unix_nanos")]
        at: UnixTime,
    },
}

impl Entry {
    /// The names of the variants; the position is the number in the file.
    pub const NAMES: [&'static str; 12] = [
        "NonceSeen",
        "Accepted",
        "Refused",
        "Ordered",
        "Moved",
        "Delta",
        "Snapshot",
        "Epoch",
        "EpochDropped",
        "RolledBack",
        "Telemetry",
        "WatermarkReset",
    ];

    /// The blobs that it names.
    #[must_use]
    pub fn blobs(&self) -> &[Digest] {
        match self {
            Self::Delta { blobs, .. } | Self::Snapshot { blobs, .. } | Self::Epoch { blobs, .. } => blobs,
            Self::NonceSeen { .. }
            | Self::Accepted { .. }
            | Self::Refused { .. }
            | Self::Ordered { .. }
            | Self::Moved { .. }
            | Self::EpochDropped { .. }
            | Self::RolledBack { .. }
            | Self::Telemetry { .. }
            | Self::WatermarkReset { .. } => &[],
        }
    }
}
