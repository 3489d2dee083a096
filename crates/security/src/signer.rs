//! Signing.

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_leyline::{
    v1::AdaptationCommand,
    wire::{self, Malformed},
};
use prost::Message;

use crate::{Secret, keys::Key};

/// Signs commands so that every receiver accepts them: those that work on the received bytes and those that decode and
/// serialise again.
#[derive(Clone)]
pub struct Signer(Key);

impl Signer {
    /// Signs with this secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(secret.key())
    }

    /// The bytes to send. A signature that is already there is replaced.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse: one too long or nested too deeply.
    pub fn sign(&self, command: &AdaptationCommand) -> Result<Vec<u8>, Malformed> {
        let signed = wire::deterministic(&command.encode_to_vec())?;
        let sent = wire::with_signature(&signed, &STANDARD.encode(self.0.sign(&signed)));
        wire::SignedBytes::parse(&sent)?;
        Ok(sent)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}
