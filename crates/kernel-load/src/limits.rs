//! Limits on the size of an artifact.

use serde::{Deserialize, Serialize};

/// An artifact beyond one of these limits is refused unread. The defaults are our choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArtifactLimits {
    /// Bytes of the file. Default 256 MiB: 64 Mi parameters of four bytes, more than a seed needs.
    pub max_bytes: usize,
    /// Bytes of the safetensors header, including the manifest. Default 1 MiB: room for some 5,000 tensors.
    pub max_header_bytes: usize,
    /// Parameters. Default 64 Mi.
    pub max_parameters: u64,
    /// Layers, including those in residuals. Default 256.
    pub max_layers: usize,
    /// The depth of residuals in residuals. Default 4.
    pub max_nesting: usize,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_header_bytes: 1 << 20,
            max_parameters: 64 << 20,
            max_layers: 256,
            max_nesting: 4,
        }
    }
}
