//! What a verifier gives back.

use kasmina_leyline::{
    CommandId, UnixTime,
    v1::AdaptationCommand,
    wire::{Head, SignedBytes},
};
use prost::Message;

use crate::Rejection;

/// The bytes of a command that a [`Verifier`](crate::Verifier) has accepted, with the id and the time that it proved. Only a verifier can make
/// them, and they cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedBytes<'w> {
    id: CommandId,
    issued_at: UnixTime,
    wire: &'w [u8],
}

impl<'w> VerifiedBytes<'w> {
    /// The bytes of an authentic command, which must still decode, and have an id and a time of issue.
    pub(crate) fn read(received: &SignedBytes<'w>, wire: &'w [u8]) -> Result<Self, Rejection> {
        match received.head() {
            Some(head) => Self::of(head, wire),
            None => Self::decoded(wire),
        }
    }

    /// The same for bytes of which only decoding can tell.
    pub(crate) fn decoded(wire: &'w [u8]) -> Result<Self, Rejection> {
        let command = AdaptationCommand::decode(wire)?;
        let issued_at = command.issued_at.map(UnixTime::from);
        Self::of(Head { command_id: &command.command_id, issued_at }, wire)
    }

    fn of(head: Head<'_>, wire: &'w [u8]) -> Result<Self, Rejection> {
        let id = CommandId::new(head.command_id).map_err(Rejection::MissingCommandId)?;
        match head.issued_at {
            Some(issued_at) => Ok(Self { id, issued_at, wire }),
            None => Err(Rejection::MissingTimestamp { id }),
        }
    }

    /// The command's id, which is its nonce.
    #[must_use]
    pub const fn id(&self) -> &CommandId {
        &self.id
    }

    /// The time of issue, by the sender's clock.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The command.
    ///
    /// # Errors
    /// [`Rejection::Undecodable`]. It does not happen: a verifier accepts only what decodes.
    pub fn decode(self) -> Result<Verified, Rejection> {
        Ok(Verified { command: AdaptationCommand::decode(self.wire)?, id: self.id, issued_at: self.issued_at })
    }
}

/// A command that a [`Verifier`](crate::Verifier) has accepted, with the id and the time that it proved. It is made only of
/// [`VerifiedBytes`], and it cannot be copied.
#[derive(Debug, PartialEq)]
pub struct Verified {
    id: CommandId,
    issued_at: UnixTime,
    command: AdaptationCommand,
}

impl Verified {
    /// The command's id, which is its nonce.
    #[must_use]
    pub const fn id(&self) -> &CommandId {
        &self.id
    }

    /// The time of issue, by the sender's clock.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The command.
    #[must_use]
    pub const fn command(&self) -> &AdaptationCommand {
        &self.command
    }

    /// The command alone, for whoever keeps it.
    #[must_use]
    pub fn into_command(self) -> AdaptationCommand {
        self.command
    }
}
