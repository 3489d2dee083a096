//! Shared secrets.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret that senders and receivers share. It is wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// The secret is empty, so everybody could sign with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is empty")]
pub struct EmptySecret;

impl Secret {
    /// A secret of these bytes. Esper's senders use the UTF-8 of `ESPER_LEYLINE_SECRET`.
    ///
    /// # Errors
    /// [`EmptySecret`].
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, EmptySecret> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() { Err(EmptySecret) } else { Ok(Self(Zeroizing::new(bytes.to_vec()))) }
    }

    /// The secret, ready to sign with.
    #[must_use]
    pub fn key(&self) -> Key {
        // HMAC takes keys of any length.
        match Hmac::new_from_slice(&self.0) {
            Ok(hmac) => Key(hmac),
            Err(_) => unreachable!("RFC 2104, section 3"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret that is ready to sign with, by HMAC-SHA256. It is wiped when dropped, as are the copies of it that sign and verify, and never
/// printed.
///
/// This is for bytes that are signed as they are, such as entries of the bus. A command has a form of its own to be signed in: see
/// [`Signer`](crate::Signer) and [`CommandVerifier`](crate::CommandVerifier).
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The signature of these bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(bytes).finalize().into_bytes().into()
    }

    /// Whether this key made the signature of these parts, one after the other. It takes the same time for every wrong signature.
    #[must_use]
    pub fn made(&self, signature: &[u8; 32], bytes: &[&[u8]]) -> bool {
        let mut mac = self.0.clone();
        bytes.iter().for_each(|part| mac.update(part));
        mac.verify(signature.into()).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The secrets that are currently accepted, by id. During a rotation it holds the old one and the new one.
#[derive(Clone, Default)]
pub struct KeyRing(Vec<(String, Key)>);

impl KeyRing {
    /// A ring with one secret.
    #[must_use]
    pub fn of(id: impl Into<String>, secret: Secret) -> Self {
        let mut ring = Self::default();
        ring.add(id, secret);
        ring
    }

    /// Adds a secret, and replaces one with the same id. The newest is tried first.
    pub fn add(&mut self, id: impl Into<String>, secret: Secret) {
        let id = id.into();
        self.remove(&id);
        self.0.insert(0, (id, secret.key()));
    }

    /// Removes a secret. Returns whether it was there.
    pub fn remove(&mut self, id: &str) -> bool {
        let held = self.0.len();
        self.0.retain(|(other, _)| other != id);
        self.0.len() < held
    }

    /// The ids, newest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    /// Whether one of the keys made the signature of these parts, one after the other, and how many keys were tried.
    pub(crate) fn any_made(&self, signature: &[u8; 32], bytes: &[&[u8]]) -> (bool, u64) {
        match self.0.iter().position(|(_, key)| key.made(signature, bytes)) {
            Some(at) => (true, at as u64 + 1),
            None => (false, self.0.len() as u64),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Sha256, Zeroizing};
    use zeroize::ZeroizeOnDrop;

    /// Wiped memory cannot be inspected without `unsafe`. It does not compile without the feature `zeroize` of `sha2`. A [`Key`](super::Key)
    /// is two such states and a buffer.
    #[test]
    fn secrets_and_keys_are_wiped_on_drop() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Sha256>();
        wiped::<Zeroizing<Vec<u8>>>();
    }
}
