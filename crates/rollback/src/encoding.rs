//! Records as bytes: protobuf messages of this crate alone, never sent to another subsystem.
//!
//! Fields may be added without a new version; readers skip those that they do not know. What would change the meaning of
//! a field that exists raises [`RECORD_VERSION`].

use kasmina_leyline::{
    CommandId, InvalidId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};
use prost::Message;

use crate::{CheckpointId, Entry, InvalidCheckpointId, Record};

/// The version of the encoding of a record that is written here, and the newest that is read.
pub const RECORD_VERSION: u32 = 1;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not protobuf, or not of these messages.
    #[error("malformed: {detail}")]
    Malformed {
        /// What the decoder says.
        detail: String,
    },
    /// Written in another version of the encoding.
    #[error("record version {got}, versions 1 to {newest} are read")]
    Version {
        /// The newest version that is read here.
        newest: u32,
        /// The version of the record.
        got: u32,
    },
    /// No entry, or one of a kind that this version does not know.
    #[error("an entry of a kind that is not known")]
    UnknownEntry,
    /// A stage or gate that the contract does not know.
    #[error("{field} is {got}, which the contract does not know")]
    UnknownValue {
        /// Which field.
        field: &'static str,
        /// Its number.
        got: i32,
    },
    /// An identifier that is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A checkpoint's name that is none.
    #[error(transparent)]
    CheckpointId(#[from] InvalidCheckpointId),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BatchMessage {
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<RecordMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecordMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(oneof = "EntryMessage", tags = "3, 4, 5, 6, 7, 8, 9")]
    entry: Option<EntryMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum EntryMessage {
    #[prost(message, tag = "3")]
    Accepted(AcceptedMessage),
    #[prost(message, tag = "4")]
    Refused(RefusedMessage),
    #[prost(message, tag = "5")]
    Transition(TransitionMessage),
    #[prost(message, tag = "6")]
    Nonce(NonceMessage),
    #[prost(message, tag = "7")]
    Telemetry(TelemetryMessage),
    #[prost(message, tag = "8")]
    Checkpoint(CheckpointMessage),
    #[prost(message, tag = "9")]
    RolledBack(RolledBackMessage),
}

#[derive(Clone, PartialEq, Message)]
struct AcceptedMessage {
    #[prost(string, tag = "1")]
    command_id: String,
    #[prost(bytes = "vec", tag = "2")]
    wire: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RefusedMessage {
    #[prost(string, tag = "1")]
    command_id: String,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct TransitionMessage {
    #[prost(string, tag = "1")]
    seed_id: String,
    #[prost(int32, tag = "2")]
    from: i32,
    #[prost(int32, tag = "3")]
    to: i32,
    #[prost(int32, optional, tag = "4")]
    gate: Option<i32>,
    #[prost(sint64, tag = "5")]
    at_unix_ns: i64,
}

#[derive(Clone, PartialEq, Message)]
struct NonceMessage {
    #[prost(string, tag = "1")]
    command_id: String,
    #[prost(sint64, tag = "2")]
    issued_at_unix_ns: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TelemetryMessage {
    #[prost(bytes = "vec", tag = "1")]
    packet: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckpointMessage {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct RolledBackMessage {
    #[prost(string, optional, tag = "1")]
    seed_id: Option<String>,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

impl Record {
    /// The record as versioned bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        message(self.sequence, &self.entry).encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) wrote. Fields that are not known are skipped.
    ///
    /// # Errors
    /// [`RecordError`] for anything else; never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        record(RecordMessage::decode(bytes).map_err(malformed)?)
    }
}

/// The payload of a frame: `entries`, numbered from `first`.
pub(crate) fn encode_batch(first: u64, entries: &[Entry]) -> Vec<u8> {
    // The entries first: a range that is asked for one number too many overflows behind the last.
    let records = entries.iter().zip(first..).map(|(entry, sequence)| message(sequence, entry)).collect();
    BatchMessage { records }.encode_to_vec()
}

/// The records of a frame's payload.
pub(crate) fn decode_batch(payload: &[u8]) -> Result<Vec<Record>, RecordError> {
    BatchMessage::decode(payload).map_err(malformed)?.records.into_iter().map(record).collect()
}

fn malformed(error: prost::DecodeError) -> RecordError {
    RecordError::Malformed { detail: error.to_string() }
}

fn message(sequence: u64, entry: &Entry) -> RecordMessage {
    let entry = match entry {
        Entry::CommandAccepted { command_id, wire } => {
            EntryMessage::Accepted(AcceptedMessage { command_id: command_id.as_str().into(), wire: wire.clone() })
        }
        Entry::CommandRefused { command_id, reason } => {
            EntryMessage::Refused(RefusedMessage { command_id: command_id.clone(), reason: reason.clone() })
        }
        Entry::Transition { seed_id, from, to, gate, at } => EntryMessage::Transition(TransitionMessage {
            seed_id: seed_id.as_str().into(),
            from: (*from).into(),
            to: (*to).into(),
            gate: gate.map(Into::into),
            at_unix_ns: at.as_nanos(),
        }),
        Entry::NonceSeen { command_id, issued_at } => EntryMessage::Nonce(NonceMessage {
            command_id: command_id.as_str().into(),
            issued_at_unix_ns: issued_at.as_nanos(),
        }),
        Entry::Telemetry { packet } => EntryMessage::Telemetry(TelemetryMessage { packet: packet.clone() }),
        Entry::RolledBack { seed_id, epoch } => {
            let seed_id = seed_id.as_ref().map(ToString::to_string);
            EntryMessage::RolledBack(RolledBackMessage { seed_id, epoch: *epoch })
        }
        Entry::Checkpoint { id } => EntryMessage::Checkpoint(CheckpointMessage { id: id.as_str().into() }),
    };
    RecordMessage { version: RECORD_VERSION, sequence, entry: Some(entry) }
}

fn record(message: RecordMessage) -> Result<Record, RecordError> {
    if !(1..=RECORD_VERSION).contains(&message.version) {
        return Err(RecordError::Version { newest: RECORD_VERSION, got: message.version });
    }
    let entry = match message.entry.ok_or(RecordError::UnknownEntry)? {
        EntryMessage::Accepted(accepted) => {
            Entry::CommandAccepted { command_id: CommandId::new(accepted.command_id)?, wire: accepted.wire }
        }
        EntryMessage::Refused(refused) => {
            Entry::CommandRefused { command_id: refused.command_id, reason: refused.reason }
        }
        EntryMessage::Transition(transition) => Entry::Transition {
            seed_id: SeedId::new(transition.seed_id)?,
            from: stage("from", transition.from)?,
            to: stage("to", transition.to)?,
            gate: transition.gate.map(gate).transpose()?,
            at: UnixTime::from_nanos(transition.at_unix_ns),
        },
        EntryMessage::Nonce(nonce) => Entry::NonceSeen {
            command_id: CommandId::new(nonce.command_id)?,
            issued_at: UnixTime::from_nanos(nonce.issued_at_unix_ns),
        },
        EntryMessage::Telemetry(telemetry) => Entry::Telemetry { packet: telemetry.packet },
        EntryMessage::RolledBack(back) => {
            Entry::RolledBack { seed_id: back.seed_id.map(SeedId::new).transpose()?, epoch: back.epoch }
        }
        EntryMessage::Checkpoint(checkpoint) => Entry::Checkpoint { id: CheckpointId::new(checkpoint.id)? },
    };
    Ok(Record { sequence: message.sequence, entry })
}

fn stage(field: &'static str, got: i32) -> Result<SeedLifecycleStage, RecordError> {
    SeedLifecycleStage::try_from(got).map_err(|_| RecordError::UnknownValue { field, got })
}

fn gate(got: i32) -> Result<SeedLifecycleGate, RecordError> {
    SeedLifecycleGate::try_from(got).map_err(|_| RecordError::UnknownValue { field: "gate", got })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_and_kinds_are_refused_and_later_fields_skipped() {
        let record = Record { sequence: 9, entry: Entry::Telemetry { packet: vec![1, 2] } };
        let mut bytes = record.encode();
        bytes.extend([0xF8, 0x07, 0x01]); // field 127, a varint: added by a later minor version
        assert_eq!(Record::decode(&bytes), Ok(record.clone()));

        let newer = RecordMessage { version: 2, ..message(1, &record.entry) };
        assert_eq!(Record::decode(&newer.encode_to_vec()), Err(RecordError::Version { newest: 1, got: 2 }));
        assert_eq!(Record::decode(&[]), Err(RecordError::Version { newest: 1, got: 0 }));
        let unknown = RecordMessage { version: 1, sequence: 1, entry: None };
        let mut bytes = unknown.encode_to_vec();
        bytes.extend([0x52, 0x00]); // field 10, an empty message: a kind added later
        assert_eq!(Record::decode(&bytes), Err(RecordError::UnknownEntry));
    }

    #[test]
    fn unknown_stages_are_named() {
        let transition = TransitionMessage { seed_id: "s".into(), from: 1, to: 99, gate: None, at_unix_ns: 0 };
        let message = RecordMessage { version: 1, sequence: 1, entry: Some(EntryMessage::Transition(transition)) };
        assert_eq!(Record::decode(&message.encode_to_vec()), Err(RecordError::UnknownValue { field: "to", got: 99 }));
    }
}
