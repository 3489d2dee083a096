//! The secrets that entries are signed with.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_security::{Key, Secret};

/// The secrets of the bus, by id. Clones are handles of the same keys, so that a bus sees a rotation while it runs.
///
/// All of them are accepted; one signs. Without any, entries are not signed and signatures are not looked at. To
/// rotate: [`accept`](Self::accept) the new secret everywhere, then [`sign_with`](Self::sign_with) it everywhere, then
/// [`remove`](Self::remove) the old one.
#[derive(Clone, Default)]
pub struct EntryKeys(Arc<RwLock<Keys>>);

#[derive(Default)]
struct Keys {
    accepted: Vec<(String, Key)>,
    signing: usize,
}

/// Why keys cannot be changed like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Everybody could sign with an empty secret.
    #[error("the secret is empty")]
    EmptySecret,
    /// There is no key of that id.
    #[error("there is no key {id:?}")]
    UnknownKey {
        /// The id.
        id: String,
    },
    /// The key signs. Without it nothing would be signed, or something else than was said.
    #[error("the key {id:?} signs; sign with another one first")]
    SigningKey {
        /// The id.
        id: String,
    },
}

impl EntryKeys {
    /// One secret, which signs. Esper's services use the UTF-8 of `ESPER_LEYLINE_SECRET`.
    ///
    /// # Errors
    /// [`KeyError::EmptySecret`].
    pub fn of(id: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let keys = Self::default();
        keys.accept(id, secret)?;
        Ok(keys)
    }

    /// One key, which signs, of a secret that cannot be read any more.
    #[must_use]
    pub fn of_key(id: impl Into<String>, key: Key) -> Self {
        let keys = Self::default();
        keys.put(id.into(), key);
        keys
    }

    /// Accepts signatures of one more secret; replaces one with the same id. The first one signs.
    ///
    /// # Errors
    /// [`KeyError::EmptySecret`].
    pub fn accept(&self, id: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<(), KeyError> {
        let key = Secret::new(secret).map_err(|_| KeyError::EmptySecret)?.key();
        self.put(id.into(), key);
        Ok(())
    }

    fn put(&self, id: String, key: Key) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match keys.accepted.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => *old = key,
            None => keys.accepted.push((id, key)),
        }
    }

    /// Signs with this key from now on.
    ///
    /// # Errors
    /// [`KeyError::UnknownKey`].
    pub fn sign_with(&self, id: &str) -> Result<(), KeyError> {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.signing = keys.position(id)?;
        Ok(())
    }

    /// Accepts signatures of this key no longer.
    ///
    /// # Errors
    /// [`KeyError::UnknownKey`], [`KeyError::SigningKey`].
    pub fn remove(&self, id: &str) -> Result<(), KeyError> {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = keys.position(id)?;
        if at == keys.signing {
            return Err(KeyError::SigningKey { id: id.to_owned() });
        }
        keys.accepted.remove(at);
        if at < keys.signing {
            keys.signing -= 1;
        }
        Ok(())
    }

    /// What the field `signature` of an entry with this payload has to be: standard base64 of the HMAC-SHA256. None
    /// without a key.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Option<String> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, key) = keys.accepted.get(keys.signing)?;
        Some(STANDARD.encode(key.sign(bytes)))
    }

    pub(crate) fn are_configured(&self) -> bool {
        !self.0.read().unwrap_or_else(PoisonError::into_inner).accepted.is_empty()
    }

    /// Whether one of the keys made the signature. Comparing takes the same time for every wrong one.
    pub(crate) fn made(&self, signature: &[u8], bytes: &[u8]) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(signature) = <[u8; 32]>::try_from(signature) else { return false };
        keys.accepted.iter().any(|(_, key)| key.made(&signature, &[bytes]))
    }
}

impl Keys {
    fn position(&self, id: &str) -> Result<usize, KeyError> {
        let found = self.accepted.iter().position(|(other, _)| other == id);
        found.ok_or_else(|| KeyError::UnknownKey { id: id.to_owned() })
    }
}

impl fmt::Debug for EntryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(keys.accepted.iter().map(|(id, _)| id)).finish()
    }
}
