//! The manifest: the layers of a kernel, and the slots that it fits.

use kasmina_leyline::BlueprintId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{ArtifactLimits, Digest, KernelDtype, LayerSpec, ManifestError, TensorSpec, check, plan};

/// The format version that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The layers of a kernel, and the slots that it fits. It is JSON in the metadata of the safetensors file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The blueprint that the kernel was compiled from.
    #[serde(serialize_with = "id_to_text", deserialize_with = "id_from_text")]
    pub blueprint_id: BlueprintId,
    /// The layers, in the order in which they run.
    pub layers: Vec<LayerSpec>,
    /// The kernel's input and output.
    pub contract: SlotContract,
    /// The number of elements in all tensors.
    pub parameter_count: u64,
}

/// A kernel's input and output. Both have the same rank and dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotContract {
    /// 2 for `[batch, channels]`, 3 for `[batch, tokens, channels]`, 4 for `[batch, channels, height, width]`.
    pub rank: usize,
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels_out: usize,
    /// The element type of input, output and parameters: that of the host's activations.
    pub dtype: KernelDtype,
}

impl SlotContract {
    /// A contract over 32-bit floats.
    #[must_use]
    pub fn f32(rank: usize, channels_in: usize, channels_out: usize) -> Self {
        Self { rank, channels_in, channels_out, dtype: KernelDtype::F32 }
    }

    /// The same contract over another element type.
    #[must_use]
    pub fn with_dtype(self, dtype: KernelDtype) -> Self {
        Self { dtype, ..self }
    }

    /// The axis that holds the channels: the last on ranks 2 and 3, axis 1 on rank 4.
    #[must_use]
    pub fn channel_axis(&self) -> usize {
        if self.rank == 3 { 2 } else { 1 }
    }
}

impl Manifest {
    /// A manifest of this version, valid under the default limits. Its parameters are counted.
    ///
    /// # Errors
    /// [`ManifestError`] if the layers do not form a kernel with this contract.
    pub fn new(
        blueprint_id: BlueprintId,
        contract: SlotContract,
        layers: Vec<LayerSpec>,
    ) -> Result<Self, ManifestError> {
        let mut manifest = Self { format_version: FORMAT_VERSION, blueprint_id, layers, contract, parameter_count: 0 };
        manifest.parameter_count = check::structure(&manifest, &ArtifactLimits::default())?.parameter_count;
        Ok(manifest)
    }

    /// Checks that the layers lead from `channels_in` to `channels_out`, that each takes the contract's rank, that residuals keep
    /// their shape, that everything is within the limits, and that the parameter count is right.
    ///
    /// # Errors
    /// [`ManifestError`] names the layer, what was expected and what was found.
    pub fn validate(&self, limits: &ArtifactLimits) -> Result<(), ManifestError> {
        check::manifest(self, limits).map(|_| ())
    }

    /// The tensors that the kernel must have, in the order in which its module visits its parameters.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn tensors(&self, limits: &ArtifactLimits) -> Result<Vec<TensorSpec>, ManifestError> {
        check::manifest(self, limits)?;
        Ok(plan::tensors(&self.layers))
    }

    /// The canonical form: JSON in ASCII with sorted keys and no white space. All numbers are whole, so each has only one
    /// spelling. Python's `json.dumps(manifest, sort_keys=True, separators=(",", ":"))` gives the same bytes.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        // Serialising plain structs of numbers and strings cannot fail; the digest of null would match nothing.
        write_canonical(&serde_json::to_value(self).unwrap_or(Value::Null), &mut text);
        text
    }

    /// The digest of the canonical form.
    #[must_use]
    pub fn guard_digest(&self) -> Digest {
        Digest::of(self.canonical().as_bytes())
    }

    /// Reads a manifest. The result is well-formed but not yet valid: see [`validate`](Self::validate).
    ///
    /// # Errors
    /// [`ManifestError::Version`], [`ManifestError::UnknownLayer`] or [`ManifestError::Malformed`].
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let malformed = |error: serde_json::Error| ManifestError::Malformed { detail: error.to_string() };
        let version = serde_json::from_str::<Version>(text).map_err(malformed)?.format_version;
        if version != FORMAT_VERSION {
            return Err(ManifestError::Version { expected: FORMAT_VERSION, got: version });
        }
        serde_json::from_str(text).map_err(|error| unknown_layer(text).unwrap_or_else(|| malformed(error)))
    }
}

/// The first layer whose name is not in the vocabulary, if that is why the text was refused.
fn unknown_layer(text: &str) -> Option<ManifestError> {
    fn find(layers: &Value, prefix: &str) -> Option<ManifestError> {
        layers.as_array()?.iter().enumerate().find_map(|(index, layer)| {
            let at = format!("{prefix}layers.{index}");
            let name = match layer {
                Value::String(name) => name,
                Value::Object(fields) => fields.keys().next()?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
            };
            if LayerSpec::NAMES.contains(&name.as_str()) {
                find(layer.get("residual")?.get("layers")?, &format!("{at}."))
            } else {
                Some(ManifestError::UnknownLayer { at, name: name.chars().take(80).collect() })
            }
        })
    }
    find(serde_json::from_str::<Value>(text).ok()?.get("layers")?, "")
}

fn write_canonical(value: &Value, text: &mut String) {
    let mut separator = "";
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in fields {
                text.push_str(separator);
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write_canonical(value, text);
                separator = ",";
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                text.push_str(separator);
                write_canonical(value, text);
                separator = ",";
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

fn id_to_text<S: Serializer>(id: &BlueprintId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

fn id_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlueprintId, D::Error> {
    BlueprintId::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
