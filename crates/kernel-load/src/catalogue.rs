//! The catalogue of a directory: a description of each blueprint, as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use kasmina_leyline::BlueprintId;
use kasmina_leyline::v1::{BlueprintDescriptor, BlueprintParameterBounds, BlueprintTier};
use serde::{Deserialize, Serialize};

use crate::container::excerpt;
use crate::{ArtifactLimits, Digest, Digests, LibraryError, verify};

/// The catalogue's file name.
pub(crate) const FILE: &str = "catalogue.json";
/// The maximum size of a catalogue in bytes. Our choice: room for some 20,000 blueprints.
pub(crate) const MAX_BYTES: usize = 16 << 20;

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

/// Reads a catalogue and checks every name and descriptor in it. `path` is for errors.
pub(crate) fn parse(json: &[u8], path: &Path) -> Result<Catalogue, LibraryError> {
    let malformed = |detail: String| LibraryError::Catalogue { path: path.to_owned(), detail };
    let entries: BTreeMap<String, Entry> =
        serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    entries
        .into_iter()
        .map(|(id, entry)| {
            let blueprint = BlueprintId::new(&id).map_err(|error| malformed(error.to_string()))?;
            if !is_plain(&entry.artifact) {
                return Err(LibraryError::FileName { blueprint: id, name: excerpt(&entry.artifact) });
            }
            validate(&entry.descriptor(&blueprint))?;
            Ok((blueprint, entry))
        })
        .collect()
}

/// Writes a catalogue. `path` is for errors.
pub(crate) fn write(catalogue: &Catalogue, path: &Path) -> Result<Vec<u8>, LibraryError> {
    let entries: BTreeMap<_, _> = catalogue.iter().map(|(id, entry)| (id.as_str(), entry)).collect();
    let json = serde_json::to_vec_pretty(&entries)
        .map_err(|error| LibraryError::Catalogue { path: path.to_owned(), detail: error.to_string() })?;
    if json.len() > MAX_BYTES {
        return Err(LibraryError::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    Ok(json)
}

/// Whether `name` can only be a visible file of the directory itself.
pub(crate) fn is_plain(name: &str) -> bool {
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
    /// The entry of an artifact, which is verified, under its blueprint. Its file is named after its checksum.
    pub(crate) fn of(
        artifact: &[u8],
        descriptor: BlueprintDescriptor,
        limits: &ArtifactLimits,
    ) -> Result<(BlueprintId, Self), LibraryError> {
        let digests = Digests::of(artifact, limits)?;
        let verified = verify(artifact, &digests, limits)?;
        let blueprint = &verified.manifest().blueprint_id;
        if descriptor.blueprint_id != blueprint.as_str() {
            let detail = format!("the artifact is of {blueprint}");
            return Err(LibraryError::Descriptor { blueprint: descriptor.blueprint_id, detail });
        }
        let file = format!("{}.safetensors", digests.checksum);
        Ok((blueprint.clone(), Self::new(file, digests, descriptor)?))
    }

    fn new(artifact: String, digests: Digests, descriptor: BlueprintDescriptor) -> Result<Self, LibraryError> {
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
