//! Test doubles: sample kernels, libraries in memory, and the suite for implementers of a library.

mod gate;
mod post;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kasmina_leyline::BlueprintId;
use kasmina_leyline::v1::{BlueprintDescriptor, BlueprintTier};

use crate::{
    Activation, Artifact, ArtifactError, ArtifactLimits, Digests, Fetched, Initialisation, KernelLibrary, LayerSpec,
    LibraryError, Manifest, ManifestError, SlotContract, initialise,
};

pub use gate::{Call, Gate, Gated, gated};
pub use post::Postbox;
pub use reader::reader_conformance;

/// A kernel for `[batch, channels]`: a bottleneck of two linear layers after a norm.
///
/// # Errors
/// [`ManifestError`] if `channels` is 0 or out of range.
pub fn sample_mlp(blueprint: BlueprintId, channels: usize) -> Result<Manifest, ManifestError> {
    let hidden = channels.div_ceil(2);
    let layers = vec![
        LayerSpec::LayerNorm { channels },
        LayerSpec::linear(channels, hidden),
        LayerSpec::Activation(Activation::Gelu),
        LayerSpec::linear(hidden, channels),
    ];
    Manifest::new(blueprint, SlotContract::f32(2, channels, channels), layers)
}

/// A kernel for `[batch, tokens, channels]`: attention with one head after a norm, then a map of rank 1.
///
/// # Errors
/// [`ManifestError`] if `channels` is 0 or out of range.
pub fn sample_attention(blueprint: BlueprintId, channels: usize) -> Result<Manifest, ManifestError> {
    let layers = vec![
        LayerSpec::LayerNorm { channels },
        LayerSpec::Attention { channels, heads: 1, causal: false },
        LayerSpec::LowRank { channels_in: channels, channels_out: channels, rank: 1 },
    ];
    Manifest::new(blueprint, SlotContract::f32(3, channels, channels), layers)
}

/// A kernel for `[batch, channels, height, width]`: a depthwise and a pointwise convolution with squeeze-excite.
///
/// # Errors
/// [`ManifestError`] if `channels` is 0 or out of range.
pub fn sample_conv(blueprint: BlueprintId, channels: usize) -> Result<Manifest, ManifestError> {
    let layers = vec![
        LayerSpec::depthwise(channels, 3),
        LayerSpec::GroupNorm { channels, groups: 1 },
        LayerSpec::Activation(Activation::Silu),
        LayerSpec::SqueezeExcite { channels, hidden: channels.div_ceil(4) },
        LayerSpec::pointwise(channels, channels),
    ];
    Manifest::new(blueprint, SlotContract::f32(4, channels, channels), layers)
}

/// A descriptor of the SAFE tier with risk 0.1 and no requirements.
#[must_use]
pub fn sample_descriptor(blueprint: &BlueprintId) -> BlueprintDescriptor {
    BlueprintDescriptor {
        blueprint_id: blueprint.as_str().into(),
        name: format!("sample {blueprint}"),
        tier: BlueprintTier::Safe.into(),
        risk: 0.1,
        ..Default::default()
    }
}

/// A library in memory. A clone is a handle on the same library, so that a test can script a library that it gave away.
#[derive(Clone, Debug, Default)]
pub struct MemoryLibrary {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    kernels: BTreeMap<BlueprintId, (BlueprintDescriptor, Artifact)>,
    failures: BTreeMap<BlueprintId, LibraryError>,
    fetches: u64,
}

impl MemoryLibrary {
    /// An empty library.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fresh kernel with a [`sample_descriptor`].
    ///
    /// # Errors
    /// [`ArtifactError`] if the manifest is invalid.
    pub fn add(&self, manifest: &Manifest, initialisation: &Initialisation) -> Result<Digests, ArtifactError> {
        let bytes = initialise(manifest, initialisation)?;
        let digests = Digests::of(&bytes, &ArtifactLimits::default())?;
        self.put(sample_descriptor(&manifest.blueprint_id), &manifest.blueprint_id, Artifact { bytes, digests });
        Ok(digests)
    }

    /// Stores anything under a name, valid or not.
    pub fn put(&self, descriptor: BlueprintDescriptor, blueprint: &BlueprintId, artifact: Artifact) {
        self.state().kernels.insert(blueprint.clone(), (descriptor, artifact));
    }

    /// Makes every fetch of `blueprint` fail with `error` from now on. `None` makes it succeed again.
    pub fn fail(&self, blueprint: &BlueprintId, error: impl Into<Option<LibraryError>>) {
        let mut state = self.state();
        match error.into() {
            Some(error) => state.failures.insert(blueprint.clone(), error),
            None => state.failures.remove(blueprint),
        };
    }

    /// The number of calls of [`fetch`](KernelLibrary::fetch), including failures.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.state().fetches
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KernelLibrary for MemoryLibrary {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        let state = self.state();
        let unknown = || LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        state.kernels.get(blueprint).map(|(descriptor, _)| descriptor.clone()).ok_or_else(unknown)
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let mut state = self.state();
        state.fetches += 1;
        if let Some(error) = state.failures.get(blueprint) {
            return Err(error.clone());
        }
        let unknown = || LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        state.kernels.get(blueprint).map(|(_, artifact)| Fetched::Here(artifact.clone())).ok_or_else(unknown)
    }
}

/// A library that answers [`Fetched::Later`] until its [`LateHandle`] says that the kernel has arrived.
#[derive(Debug)]
pub struct LateLibrary {
    library: MemoryLibrary,
    late: Arc<Mutex<Late>>,
}

/// Scripts a [`LateLibrary`] from outside.
#[derive(Clone, Debug)]
pub struct LateHandle {
    library: MemoryLibrary,
    late: Arc<Mutex<Late>>,
}

#[derive(Debug, Default)]
struct Late {
    requested: Vec<BlueprintId>,
    arrived: BTreeSet<BlueprintId>,
}

/// An empty library whose kernels come late, and its handle.
#[must_use]
pub fn late_library() -> (LateLibrary, LateHandle) {
    let (library, late) = (MemoryLibrary::new(), Arc::default());
    (LateLibrary { library: library.clone(), late: Arc::clone(&late) }, LateHandle { library, late })
}

impl LateHandle {
    /// The kernels that will arrive. Its scripted failures happen at once.
    #[must_use]
    pub fn library(&self) -> &MemoryLibrary {
        &self.library
    }

    /// The blueprints that were requested before they had arrived, in the order of the requests.
    #[must_use]
    pub fn requested(&self) -> Vec<BlueprintId> {
        lock(&self.late).requested.clone()
    }

    /// Lets the artifact arrive. It is returned for [`KernelLoader::deliver`](crate::KernelLoader::deliver), and from now on the
    /// library has it.
    ///
    /// # Errors
    /// [`LibraryError`] if the library has no such artifact.
    pub fn arrive(&self, blueprint: &BlueprintId) -> Result<Artifact, LibraryError> {
        let unknown = || LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        let artifact = self.library.fetch(blueprint)?.here().ok_or_else(unknown)?;
        lock(&self.late).arrived.insert(blueprint.clone());
        Ok(artifact)
    }
}

impl KernelLibrary for LateLibrary {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        self.library.descriptor(blueprint)
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let fetched = self.library.fetch(blueprint)?;
        let mut late = lock(&self.late);
        if late.arrived.contains(blueprint) {
            return Ok(fetched);
        }
        late.requested.push(blueprint.clone());
        Ok(Fetched::Later)
    }
}

fn lock(late: &Mutex<Late>) -> MutexGuard<'_, Late> {
    late.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The suite for implementers of a library: call it in a test. `build` makes a library of the given artifacts and descriptors.
///
/// # Panics
/// If a promise of the trait is broken.
pub fn conformance<L: KernelLibrary>(build: impl FnOnce(&[(Vec<u8>, BlueprintDescriptor)]) -> L) {
    let limits = ArtifactLimits::default();
    let kernels: Vec<_> = ["conformance-1", "conformance-2"]
        .into_iter()
        .filter_map(|name| {
            let blueprint = BlueprintId::new(name).ok()?;
            let artifact = initialise(&sample_mlp(blueprint.clone(), 4).ok()?, &Initialisation::default()).ok()?;
            Some((artifact, sample_descriptor(&blueprint)))
        })
        .collect();
    assert_eq!(kernels.len(), 2, "the samples are valid");
    let library = build(&kernels);
    for (artifact, descriptor) in &kernels {
        let blueprint = BlueprintId::new(&descriptor.blueprint_id);
        assert_eq!(blueprint.as_ref().map(|id| library.descriptor(id)), Ok(Ok(descriptor.clone())), "the descriptor");
        for attempt in 0..2 {
            let fetched = blueprint.as_ref().map(|id| library.fetch(id));
            let expected = Digests::of(artifact, &limits)
                .map(|digests| Fetched::Here(Artifact { bytes: artifact.clone(), digests }));
            assert_eq!(fetched, Ok(expected.map_err(LibraryError::from)), "the artifact, attempt {attempt}");
        }
    }
    if let Ok(blueprint) = BlueprintId::new("conformance-unknown") {
        let unknown = LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        assert_eq!(library.descriptor(&blueprint).as_ref(), Err(&unknown), "the descriptor of an unknown blueprint");
        assert_eq!(library.fetch(&blueprint).as_ref(), Err(&unknown), "an unknown blueprint");
    }
}
