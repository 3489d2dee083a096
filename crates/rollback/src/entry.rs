//! What is journaled.

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};

use crate::CheckpointId;

/// One journaled entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place: 1 for the first entry of a store, one more for each that follows, never reused.
    pub sequence: u64,
    /// What happened.
    pub entry: Entry,
}

/// Something that must not be forgotten.
///
/// A later version may add kinds; a reader that does not know one refuses the record
/// ([`RecordError::UnknownEntry`](crate::RecordError::UnknownEntry)) instead of skipping it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A command was verified and will be carried out.
    CommandAccepted {
        /// Which.
        command_id: CommandId,
        /// The command as it came over the wire, byte for byte, so that its signature can be checked again.
        wire: Vec<u8>,
    },
    /// A command was refused and must be answered the same way again.
    CommandRefused {
        /// Its id as it came: a refused command may have none, or one that is no [`CommandId`].
        command_id: String,
        /// The machine-readable reason.
        reason: String,
    },
    /// A seed changed its stage.
    Transition {
        /// Which seed.
        seed_id: SeedId,
        /// The stage it left.
        from: SeedLifecycleStage,
        /// The stage it entered.
        to: SeedLifecycleStage,
        /// The gate that let it pass, where one guards the move.
        gate: Option<SeedLifecycleGate>,
        /// When, by the wall clock, in nanoseconds.
        at: UnixTime,
    },
    /// A nonce was used up. Replayed into the ledger after a restart, or the command could be sent again.
    NonceSeen {
        /// The nonce.
        command_id: CommandId,
        /// When its sender issued it.
        issued_at: UnixTime,
    },
    /// A critical packet that found no consumer.
    Telemetry {
        /// The encoded packet, byte for byte.
        packet: Vec<u8>,
    },
    /// The run, or one seed, went back to a checkpoint. The records before it tell of what was undone.
    RolledBack {
        /// The seed that went back alone; `None` where everything did.
        seed_id: Option<SeedId>,
        /// The epoch of the checkpoint.
        epoch: u64,
    },
    /// A checkpoint was saved, and covers everything before this record.
    Checkpoint {
        /// Which.
        id: CheckpointId,
    },
}
