//! What the metadata of a file says.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{FossilSpec, GrownError};

/// The format version that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The key of the manifest in the metadata.
pub const MANIFEST_KEY: &str = "kasmina.grown";

/// The key of the digest in the metadata: the SHA-256 of the file in which the 64 digits of the digest are zeros.
pub const DIGEST_KEY: &str = "kasmina.digest";

/// The prefix of the names of the host's tensors.
pub(crate) const HOST: &str = "host.";

/// The name of a fossil's tensor. `tensor` is its name in an artifact: `layers.0.Linear.weight`.
pub(crate) fn fossil_tensor(spec: &FossilSpec, tensor: &str) -> String {
    format!("fossil.{}.{tensor}", spec.seed)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrownManifest {
    pub(crate) format_version: u32,
    /// In the order in which they became part of the host.
    pub(crate) fossils: Vec<FossilSpec>,
    /// The parameter's id of every tensor.
    pub(crate) ids: BTreeMap<String, u64>,
    /// The host's tensors that were saved through a mapper: without their prefix.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) mapped: BTreeSet<String>,
}

impl GrownManifest {
    pub(crate) fn to_json(&self) -> Result<String, GrownError> {
        serde_json::to_string(self).map_err(malformed)
    }

    /// Reads a manifest. The version is read first, so that a newer one says so.
    pub(crate) fn from_json(text: &str) -> Result<Self, GrownError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let got = serde_json::from_str::<Version>(text).map_err(malformed)?.format_version;
        if got != FORMAT_VERSION {
            return Err(GrownError::Version { expected: FORMAT_VERSION, got });
        }
        serde_json::from_str(text).map_err(malformed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: serde_json::Error) -> GrownError {
    GrownError::Manifest { detail: error.to_string().chars().take(200).collect() }
}
