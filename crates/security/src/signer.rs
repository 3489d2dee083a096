//! Signing commands.

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_leyline::{
    v1::AdaptationCommand,
    wire::{self, Malformed},
};
use prost::Message;

use crate::{Secret, keys::Key};

/// Signs commands so that every receiver accepts them, whether it checks the received bytes or decodes and serialises them again.
#[derive(Clone)]
pub struct Signer(Key);

impl Signer {
    /// A signer that uses this secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(secret.key())
    }

    /// The bytes to send. An existing signature is replaced.
    ///
    /// # Errors
    /// [`Malformed`] if receivers would reject the command, because it is too long or nested too deeply.
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
