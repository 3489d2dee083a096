//! The catalogue of a directory: a description of each blueprint, as JSON.

use std::collections::BTreeMap;

use kasmina_leyline::BlueprintId;
use kasmina_leyline::v1::{BlueprintDescriptor, BlueprintParameterBounds, BlueprintTier};
use serde::{Deserialize, Serialize};

use crate::container::excerpt;
use crate::{Digest, Digests, LibraryError};

pub(crate) type Catalogue = BTreeMap<BlueprintId, Entry>;

/// The catalogue's entry for one blueprint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) artifact: String,
    checksum: Digest,
    guard_digest: Digest,
    name: String,
    tier: Tier,
    #[serde(default)]
    allowed_parameters: BTreeMap<String, Bounds>,
    risk: f32,
    #[serde(default)]
    stage: u32,
    quarantine_only: bool,
    approval_required: bool,
    #[serde(default)]
    description: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tier {
    Unspecified,
    Safe,
    Experimental,
    HighRisk,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    min_value: f64,
    max_value: f64,
}

/// Reads a catalogue and checks every name and descriptor in it. The error explains what is wrong, or has the bad name.
pub(crate) fn parse(json: &[u8]) -> Result<Catalogue, Result<LibraryError, String>> {
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(json).map_err(|error| Err(error.to_string()))?;
    entries
        .into_iter()
        .map(|(id, entry)| {
            let blueprint = BlueprintId::new(&id).map_err(|error| Err(error.to_string()))?;
            if !is_plain(&entry.artifact) {
                return Err(Ok(LibraryError::FileName { blueprint: id, name: excerpt(&entry.artifact) }));
            }
            validate(&entry.descriptor(&blueprint)).map_err(Ok)?;
            Ok((blueprint, entry))
        })
        .collect()
}

/// Writes a catalogue.
pub(crate) fn write(catalogue: &Catalogue) -> Result<Vec<u8>, serde_json::Error> {
    let entries: BTreeMap<_, _> = catalogue.iter().map(|(id, entry)| (id.as_str(), entry)).collect();
    serde_json::to_vec_pretty(&entries)
}

/// Whether `name` can only be a visible file of the directory itself.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(allowed)
}

/// Checks what a descriptor's types do not guarantee. Returns the tier.
fn validate(descriptor: &BlueprintDescriptor) -> Result<Tier, LibraryError> {
    let invalid = |detail: String| LibraryError::Descriptor { blueprint: excerpt(&descriptor.blueprint_id), detail };
    let tier = match BlueprintTier::try_from(descriptor.tier) {
        Ok(BlueprintTier::Unspecified) => Tier::Unspecified,
        Ok(BlueprintTier::Safe) => Tier::Safe,
        Ok(BlueprintTier::Experimental) => Tier::Experimental,
        Ok(BlueprintTier::HighRisk) => Tier::HighRisk,
        Err(_) => return Err(invalid(format!("{} is not a tier", descriptor.tier))),
    };
    if !descriptor.risk.is_finite() {
        return Err(invalid(format!("the risk is {}", descriptor.risk)));
    }
    for (name, BlueprintParameterBounds { min_value, max_value }) in &descriptor.allowed_parameters {
        if !(min_value.is_finite() && max_value.is_finite() && min_value <= max_value) {
            return Err(invalid(format!("{:?} is bounded by {min_value} and {max_value}", excerpt(name))));
        }
    }
    Ok(tier)
}

impl Entry {
    /// The entry for a descriptor and an artifact.
    pub(crate) fn new(
        artifact: String,
        digests: Digests,
        descriptor: BlueprintDescriptor,
    ) -> Result<Self, LibraryError> {
        let tier = validate(&descriptor)?;
        let bounds = |BlueprintParameterBounds { min_value, max_value }| Bounds { min_value, max_value };
        let BlueprintDescriptor {
            blueprint_id: _,
            name,
            tier: _,
            allowed_parameters,
            risk,
            stage,
            quarantine_only,
            approval_required,
            description,
        } = descriptor;
        Ok(Self {
            artifact,
            checksum: digests.checksum,
            guard_digest: digests.guard_digest,
            name,
            tier,
            allowed_parameters: allowed_parameters.into_iter().map(|(name, range)| (name, bounds(range))).collect(),
            risk,
            stage,
            quarantine_only,
            approval_required,
            description,
        })
    }

    pub(crate) fn digests(&self) -> Digests {
        Digests { checksum: self.checksum, guard_digest: self.guard_digest }
    }

    pub(crate) fn descriptor(&self, blueprint: &BlueprintId) -> BlueprintDescriptor {
        let tier = match self.tier {
            Tier::Unspecified => BlueprintTier::Unspecified,
            Tier::Safe => BlueprintTier::Safe,
            Tier::Experimental => BlueprintTier::Experimental,
            Tier::HighRisk => BlueprintTier::HighRisk,
        };
        let bounds = |&Bounds { min_value, max_value }: &Bounds| BlueprintParameterBounds { min_value, max_value };
        BlueprintDescriptor {
            blueprint_id: blueprint.as_str().into(),
            name: self.name.clone(),
            tier: tier.into(),
            allowed_parameters: self
                .allowed_parameters
                .iter()
                .map(|(name, range)| (name.clone(), bounds(range)))
                .collect(),
            risk: self.risk,
            stage: self.stage,
            quarantine_only: self.quarantine_only,
            approval_required: self.approval_required,
            description: self.description.clone(),
        }
    }
}
