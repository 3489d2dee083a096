//! Keys and signatures of workers.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A signature of a [`Statement`](crate::Statement).
pub type Signature = [u8; SIGNATURE_BYTES];

/// What a worker signs with. The secret is wiped from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct SecretKey(Secret);

#[derive(Clone)]
enum Secret {
    Ed25519(Box<SigningKey>),
    #[cfg(feature = "doubles")]
    Double(u64),
}

/// What anybody checks a worker's signatures with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(Public);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Public {
    Ed25519([u8; 32]),
    #[cfg(feature = "doubles")]
    Double(u64),
}

/// The bytes are not a public key of Ed25519, or one of the few with which forged signatures can be made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of Ed25519")]
pub struct InvalidKey;

impl SecretKey {
    /// The Ed25519 key of this seed, which has to come from a generator for secrets: 32 random bytes of the
    /// operating system.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Secret::Ed25519(Box::new(SigningKey::from_bytes(seed))))
    }

    /// A key that proves nothing, for simulations: its signatures cost some nanoseconds, and everybody can forge them.
    #[cfg(feature = "doubles")]
    #[must_use]
    pub const fn double(number: u64) -> Self {
        Self(Secret::Double(number))
    }

    /// The key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Secret::Ed25519(key) => Public::Ed25519(key.verifying_key().to_bytes()),
            #[cfg(feature = "doubles")]
            Secret::Double(number) => Public::Double(*number),
        })
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Signature {
        match &self.0 {
            Secret::Ed25519(key) => key.sign(bytes).to_bytes(),
            #[cfg(feature = "doubles")]
            Secret::Double(number) => double(*number, bytes),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl PublicKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn new(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(Public::Ed25519(bytes))),
            Ok(_) | Err(_) => Err(InvalidKey),
        }
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        match self.0 {
            Public::Ed25519(bytes) => bytes,
            #[cfg(feature = "doubles")]
            Public::Double(number) => {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                bytes
            }
        }
    }

    /// Whether the secret key that belongs to this one made the signature.
    pub(crate) fn made(&self, signature: &Signature, bytes: &[u8]) -> bool {
        match &self.0 {
            Public::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_bytes(signature);
                VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
            }
            #[cfg(feature = "doubles")]
            Public::Double(number) => double(*number, bytes) == *signature,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.to_bytes();
        write!(f, "PublicKey({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// FNV-1a over the key and the bytes: enough to tell statements apart.
#[cfg(feature = "doubles")]
fn double(number: u64, bytes: &[u8]) -> Signature {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    let mut signature = [0; SIGNATURE_BYTES];
    signature[..8].copy_from_slice(&hash.to_le_bytes());
    signature
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// Wiped memory cannot be inspected without `unsafe`. It does not compile without the feature `zeroize`.
    #[test]
    fn secret_keys_are_wiped_on_drop() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<SigningKey>();
    }

    #[test]
    fn a_printed_key_tells_nothing() {
        let key = SecretKey::from_seed(&[7; 32]);
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }

    #[test]
    fn only_the_key_that_signed_is_accepted() {
        let (one, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let signature = one.sign(b"bytes");
        assert!(one.public().made(&signature, b"bytes"));
        assert!(!one.public().made(&signature, b"byte"));
        assert!(!other.public().made(&signature, b"bytes"));
    }

    #[test]
    fn a_weak_key_is_refused() {
        // The neutral element: some signatures fit it whatever was signed.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(PublicKey::new(neutral), Err(InvalidKey));
        assert_eq!(PublicKey::new(SecretKey::from_seed(&[1; 32]).public().to_bytes()).map(|_| ()), Ok(()));
    }
}
