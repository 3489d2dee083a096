//! The frame of a safetensors file: eight bytes of length, a header of JSON, then the tensors' bytes. Artifacts use it, and so does any
//! file that is verified like one.
//!
//! It is written and read here because the `safetensors` crate keeps the last of two tensors with the same name, adds declared offsets
//! without a check, and writes metadata in an order that changes from run to run.

use std::path::Path;
use std::{collections::BTreeMap, fmt, io};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::atomic;

const METADATA: &str = "__metadata__";
/// The size of the header's length field in bytes.
const LENGTH: usize = 8;

/// A header. If it was parsed, its tensors are not yet checked.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub metadata: BTreeMap<String, String>,
    pub tensors: BTreeMap<String, TensorEntry>,
}

/// A header's entry for one tensor. `data_offsets` are counted from the end of the header.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    pub dtype: String,
    pub shape: Vec<usize>,
    pub data_offsets: [usize; 2],
}

/// Why bytes have no readable header.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum ContainerError {
    #[strum(serialize = "artifact_truncated")]
    #[error("the file is truncated: expected {expected} bytes, got {got}")]
    Truncated { expected: usize, got: usize },
    #[strum(serialize = "header_oversized")]
    #[error("the header has {got} bytes, at most {limit} are allowed")]
    HeaderOversized { limit: usize, got: u64 },
    #[strum(serialize = "header_malformed")]
    #[error("the header is malformed: {detail}")]
    Header { detail: String },
}

impl ContainerError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}

/// Splits a file into its header and the tensors' bytes.
///
/// # Errors
/// [`ContainerError::Truncated`]; [`ContainerError::HeaderOversized`] if the header is longer than `max_header_bytes`.
pub fn split(bytes: &[u8], max_header_bytes: usize) -> Result<(&[u8], &[u8]), ContainerError> {
    let got = bytes.len();
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(ContainerError::Truncated { expected: LENGTH, got });
    };
    let declared = u64::from_le_bytes(*length);
    let length = usize::try_from(declared).unwrap_or(usize::MAX);
    if length > max_header_bytes {
        return Err(ContainerError::HeaderOversized { limit: max_header_bytes, got: declared });
    }
    rest.split_at_checked(length).ok_or(ContainerError::Truncated { expected: length.saturating_add(LENGTH), got })
}

/// Parses the header from [`split`]. A tensor that is listed twice is an error.
///
/// # Errors
/// [`ContainerError::Header`].
pub fn parse(header: &[u8]) -> Result<Header, ContainerError> {
    serde_json::from_slice(header).map_err(|error| ContainerError::Header { detail: excerpt(&error.to_string()) })
}

/// The length field and the header, padded with spaces so that the data is aligned to eight bytes. The same header gives the same
/// bytes.
///
/// # Errors
/// [`ContainerError::Header`] if it cannot be written as JSON.
pub fn write(header: &Header) -> Result<Vec<u8>, ContainerError> {
    #[derive(Serialize)]
    struct Out<'a> {
        #[serde(rename = "__metadata__")]
        metadata: &'a BTreeMap<String, String>,
        #[serde(flatten)]
        tensors: &'a BTreeMap<String, TensorEntry>,
    }
    let mut json = serde_json::to_vec(&Out { metadata: &header.metadata, tensors: &header.tensors })
        .map_err(|error| ContainerError::Header { detail: error.to_string() })?;
    json.resize(json.len().next_multiple_of(LENGTH), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}

/// Replaces the file at `path`. A reader sees either the old content or the new content. Once this has returned, the new content survives
/// a power cut.
///
/// # Errors
/// Those of the file system. Then the old content is still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"))?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    atomic::replace(directory, name, bytes)
}

/// The beginning of the text, at most 80 characters, for an error message.
#[must_use]
pub fn excerpt(text: &str) -> String {
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
