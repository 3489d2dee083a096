//! Entries as bytes: postcard, one after the other.

use crate::Entry;

/// Why bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields say it")]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are not what this version would write.
    #[error("its encoding is damaged: {detail}")]
    Malformed { detail: String },
    /// An entry that only a newer version knows.
    #[error(
        "entry number {number} is not known here, at most {newest} is: use the release that wrote it, or a later one"
    )]
    UnknownEntry { number: u64, newest: u64 },
}

impl Entry {
    /// The entry as it is stored in a batch.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] if the encoder refuses it, which it has no reason to.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        self.encode_to(Vec::new())
    }

    /// Reads one entry; nothing may follow it.
    ///
    /// # Errors
    /// [`RecordError`]. No bytes make it panic or allocate more than a few times their length.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match Self::decode_first(bytes)? {
            (entry, []) => Ok(entry),
            (_, rest) => Err(RecordError::Malformed { detail: format!("{} bytes follow it", rest.len()) }),
        }
    }

    /// Appends the encoding to `buffer`.
    pub(crate) fn encode_to(&self, buffer: Vec<u8>) -> Result<Vec<u8>, RecordError> {
        postcard::to_extend(self, buffer).map_err(|error| malformed(&error))
    }

    /// Reads the first entry and gives the bytes after it.
    pub(crate) fn decode_first(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        let newest = Self::NAMES.len() as u64 - 1;
        match postcard::take_from_bytes::<u32>(bytes) {
            Ok((number, _)) if u64::from(number) > newest => {
                return Err(RecordError::UnknownEntry { number: number.into(), newest });
            }
            Ok(_) | Err(_) => {}
        }
        postcard::take_from_bytes(bytes).map_err(|error| malformed(&error))
    }
}

fn malformed(error: &postcard::Error) -> RecordError {
    RecordError::Malformed { detail: error.to_string() }
}
