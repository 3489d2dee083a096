//! Why a command is rejected.

use std::time::Duration;

use kasmina_leyline::{CommandId, InvalidId, wire::Malformed};

/// Why a command is rejected. From [`MissingTimestamp`](Self::MissingTimestamp) on, the command is known to be authentic.
#[allow(missing_docs, reason = "the names and messages say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    #[error("the bytes are not a well-formed command: {0}")]
    Malformed(#[from] Malformed),
    /// The bytes are well-formed and authentic, but do not decode.
    #[error("the command does not decode: {0}")]
    Undecodable(#[from] prost::DecodeError),
    #[error("the command is not signed")]
    MissingSignature,
    #[error("signature does not match any key in the key ring")]
    InvalidSignature,
    #[error("the command has no valid id: {0}")]
    MissingCommandId(InvalidId),
    #[error("command {id} has no time of issue")]
    MissingTimestamp { id: CommandId },
    /// It was issued too far ahead of this machine's wall clock.
    #[error("command {id} was issued {ahead:?} in the future")]
    IssuedInFuture { id: CommandId, ahead: Duration },
    #[error("command {id} is stale: it was issued {age:?} ago")]
    StaleCommand { id: CommandId, age: Duration },
    /// It was issued at the watermark or before it. The nonces of that time may have been forgotten, so it could be a replay. The
    /// reason is the contract's `stale_command`. `ahead` is how far the watermark is ahead of this machine's wall clock: zero
    /// unless a clock was wrong, because a command that is accepted was issued a few seconds ahead at most.
    #[error("{}", before_watermark(id, *behind, *ahead))]
    BeforeWatermark { id: CommandId, behind: Duration, ahead: Duration },
    #[error("command {id} was seen before")]
    NonceReplayed { id: CommandId },
    #[error("no verifier is configured")]
    NoVerifier,
}

fn before_watermark(id: &CommandId, behind: Duration, ahead: Duration) -> String {
    if ahead.is_zero() {
        return format!(
            "command {id} is stale: it was issued {behind:?} before the watermark of the nonce ledger, so it may have been seen \
             and forgotten; sign it again"
        );
    }
    format!(
        "command {id} was issued before the watermark of the nonce ledger, which is {ahead:?} in the future: a clock was ahead when \
         an earlier command was accepted; commands are rejected until that time has come, unless an operator resets the \
         watermark: stop the manager and run `kasmina store reset-watermark DIR`"
    )
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

    /// The command's id, if the command is authentic and has one.
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
