//! Why a command is not obeyed.

use std::time::Duration;

use kasmina_leyline::{CommandId, InvalidId, wire::Malformed};

/// Why a command is not obeyed. From the id on, the command is known to be authentic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The bytes are no well-formed command.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The bytes are well-formed and authentic, but do not decode.
    #[error("malformed: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// There is no signature.
    #[error("the command is not signed")]
    MissingSignature,
    /// No key of the ring made the signature of these bytes.
    #[error("no key of the ring made the signature")]
    InvalidSignature,
    /// There is no command id, or none that can be one.
    #[error("the command has no usable id: {0}")]
    MissingCommandId(InvalidId),
    /// There is no time of issue.
    #[error("command {id} does not say when it was issued")]
    MissingTimestamp {
        /// Which command.
        id: CommandId,
    },
    /// It was issued too far ahead of this machine's wall clock.
    #[error("command {id} was issued {ahead:?} ahead of now")]
    IssuedInFuture {
        /// Which command.
        id: CommandId,
        /// How far.
        ahead: Duration,
    },
    /// It was issued too long ago.
    #[error("command {id} was issued {age:?} ago")]
    StaleCommand {
        /// Which command.
        id: CommandId,
        /// How long.
        age: Duration,
    },
    /// It was issued at the watermark or before it: the nonces of that time may have been forgotten, so it may be a replay. The
    /// reason is the contract's `stale_command`.
    #[error(
        "command {id} was issued {behind:?} before the watermark of the nonce ledger; if a wrong clock has moved the watermark, \
         an operator can reset it"
    )]
    BeforeWatermark {
        /// Which command.
        id: CommandId,
        /// How long before the watermark.
        behind: Duration,
    },
    /// Its id was used before.
    #[error("command {id} was seen before")]
    NonceReplayed {
        /// Which command.
        id: CommandId,
    },
    /// There is no verifier.
    #[error("no verifier is configured")]
    NoVerifier,
}

impl Rejection {
    /// The contract's name for it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Undecodable(_) => "malformed",
            Self::MissingSignature => "missing_signature",
            Self::InvalidSignature => "invalid_signature",
            Self::MissingCommandId(_) => "missing_command_id",
            Self::MissingTimestamp { .. } => "missing_timestamp",
            Self::IssuedInFuture { .. } => "issued_in_future",
            Self::StaleCommand { .. } | Self::BeforeWatermark { .. } => "stale_command",
            Self::NonceReplayed { .. } => "nonce_replayed",
            Self::NoVerifier => "no_verifier",
        }
    }

    /// The command's id, where the command is authentic and has one.
    #[must_use]
    pub const fn command_id(&self) -> Option<&CommandId> {
        match self {
            Self::MissingTimestamp { id }
            | Self::IssuedInFuture { id, .. }
            | Self::StaleCommand { id, .. }
            | Self::BeforeWatermark { id, .. }
            | Self::NonceReplayed { id } => Some(id),
            Self::Malformed(_)
            | Self::Undecodable(_)
            | Self::MissingSignature
            | Self::InvalidSignature
            | Self::MissingCommandId(_)
            | Self::NoVerifier => None,
        }
    }
}
