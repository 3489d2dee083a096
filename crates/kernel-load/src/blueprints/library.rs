//! A library of the built-in blueprints.

use kasmina_leyline::{BlueprintId, v1::BlueprintDescriptor};

use super::id;
use crate::{
    Artifact, ArtifactLimits, Digest, Digests, Fetched, Initialisation, KernelLibrary, LibraryError, initialise,
};

/// A library without a directory: it makes the kernel of any id that [`Blueprint::for_slot`](super::Blueprint::for_slot) or
/// [`drawn`](super::Blueprint::drawn) gives. A new kernel changes nothing at first.
///
/// The same seed and id give the same weights on every machine, and other ids give others. So seeds of one id have the same weights: for
/// others, draw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuiltInLibrary {
    seed: u64,
}

impl BuiltInLibrary {
    /// A library whose weights are drawn with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed of one kernel's weights.
    fn seed(self, blueprint: &BlueprintId) -> u64 {
        let digest = Digest::of(blueprint.as_str().as_bytes());
        digest.first_u64() ^ self.seed
    }
}

impl KernelLibrary for BuiltInLibrary {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        let unknown = || LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        let (known, slot, start, _) = id::read(blueprint).ok_or_else(unknown)?;
        let described = known.descriptor(slot, start).map_err(|_| unknown())?;
        Ok(BlueprintDescriptor { blueprint_id: blueprint.as_str().to_owned(), ..described })
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let unknown = || LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        let (known, slot, start, draw) = id::read(blueprint).ok_or_else(unknown)?;
        let manifest = known.drawn(slot, start, draw).map_err(|_| unknown())?;
        let bytes = initialise(&manifest, &Initialisation { seed: self.seed(blueprint), zero_last: true })?;
        let digests = Digests::of(&bytes, &ArtifactLimits::default())?;
        Ok(Fetched::Here(Artifact { bytes, digests }))
    }
}
