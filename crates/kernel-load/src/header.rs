//! The header of a safetensors file: eight bytes of length, then JSON.
//!
//! It is written and read here because the `safetensors` crate keeps the last of two tensors with the same name, and adds declared
//! offsets without a check.

use std::{collections::BTreeMap, fmt};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{ArtifactError, ArtifactLimits};

const METADATA: &str = "__metadata__";
/// The size of the header's length field in bytes.
const LENGTH: usize = 8;

/// A parsed header. Its tensors are not yet checked.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: BTreeMap<String, TensorEntry>,
}

/// A header's entry for one tensor. `data_offsets` are counted from the end of the header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TensorEntry {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data_offsets: [usize; 2],
}

/// Splits a file into its header and its data.
pub(crate) fn split<'a>(bytes: &'a [u8], limits: &ArtifactLimits) -> Result<(&'a [u8], &'a [u8]), ArtifactError> {
    let got = bytes.len();
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(ArtifactError::Truncated { expected: LENGTH, got });
    };
    let declared = u64::from_le_bytes(*length);
    let length = usize::try_from(declared).unwrap_or(usize::MAX);
    if length > limits.max_header_bytes {
        return Err(ArtifactError::HeaderOversized { limit: limits.max_header_bytes, got: declared });
    }
    rest.split_at_checked(length).ok_or(ArtifactError::Truncated { expected: length.saturating_add(LENGTH), got })
}

/// Parses the header from [`split`].
pub(crate) fn parse(header: &[u8]) -> Result<Header, ArtifactError> {
    serde_json::from_slice(header).map_err(|error| ArtifactError::Header { detail: excerpt(&error.to_string()) })
}

/// The length field and the header, padded with spaces so that the data is aligned to eight bytes.
pub(crate) fn write(header: &Header) -> Result<Vec<u8>, ArtifactError> {
    #[derive(Serialize)]
    struct Out<'a> {
        #[serde(rename = "__metadata__")]
        metadata: &'a BTreeMap<String, String>,
        #[serde(flatten)]
        tensors: &'a BTreeMap<String, TensorEntry>,
    }
    let mut json = serde_json::to_vec(&Out { metadata: &header.metadata, tensors: &header.tensors })
        .map_err(|error| ArtifactError::Header { detail: error.to_string() })?;
    json.resize(json.len().next_multiple_of(LENGTH), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}

/// The beginning of the text, for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut has_metadata = false;
                while let Some(key) = map.next_key::<String>()? {
                    let twice = if key == METADATA {
                        header.metadata = map.next_value()?;
                        std::mem::replace(&mut has_metadata, true)
                    } else {
                        let entry = map.next_value()?;
                        header.tensors.insert(key.clone(), entry).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format_args!("{:?} appears twice", excerpt(&key))));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
