//! How large an artifact may be.

use serde::{Deserialize, Serialize};

/// Sizes beyond which an artifact is refused unread. The defaults are our choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArtifactLimits {
    /// Bytes of the file. Default 256 MiB: 64 Mi parameters of four bytes, more than any seed needs.
    pub max_bytes: usize,
    /// Bytes of the safetensors header, the manifest included. Default 1 MiB: room for some 5,000 tensors.
    pub max_header_bytes: usize,
    /// Parameters. Default 64 Mi.
    pub max_parameters: u64,
    /// Layers, those inside residuals included. Default 256.
    pub max_layers: usize,
    /// How deep residuals may lie inside residuals. Default 4.
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
