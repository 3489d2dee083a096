//! What the engine does not hold: kernels, their optimizers, who owns which parameter, and the slots that the host has shown.

use std::{collections::BTreeMap, sync::Arc};

use burn::{
    module::{AutodiffModule, ParamId},
    optim::GradientsParams,
};
use kasmina_blending::{Alpha, BlendConfig, GraftBackend};
use kasmina_engine::{
    Effect, Seed, State,
    input::{KernelFacts, KernelFailure, KernelOrigin, Ownership as OwnershipFacts, Rehearsal, Remains},
    seed::{Contract, Turn},
};
use kasmina_grown::{Fossil, FossilSpec, GrownError, Provenance};
use kasmina_isolation::{Cast, Grafts, Participant, Route, SlotShape, attach, rehearse};
use kasmina_kernel_load::{
    Digest as ArtifactDigest, KernelModule, Manifest, VerifiedArtifact,
    weights::{WeightsError, module_from_bytes, module_to_bytes},
};
use kasmina_leyline::{BlueprintId, SeedId, SlotId, v1::SeedLifecycleStage::SeedStageFossilized};
use kasmina_registry::{Registry, RegistryError, parameter_ids};
use kasmina_safety::Clock;

mod digest;
mod ids;
mod trials;

pub(crate) use digest::weights_digest;
use ids::with_ids;

use crate::{
    error::KernelError,
    kernel_optimizer::{KernelOptimizer, SeedOptimizer},
    paths::Paths,
    records::Weights,
    settings::Settings,
};

/// What the engine does not hold, for all seeds.
pub(crate) struct Tensors<B: GraftBackend> {
    device: B::Device,
    registry: Registry,
    slots: BTreeMap<SlotId, SlotShape>,
    planted: Planted<B>,
    /// Kernels of decisions that are not committed.
    staged: Planted<B>,
    /// What a new kernel gets.
    optimizer: SeedOptimizer,
    paths: Paths,
}

/// Kernels by seed. Cloning copies handles, no weights.
pub(crate) type Planted<B> = BTreeMap<SeedId, Plant<B>>;

/// A kernel with its optimizer. Cloning copies handles, no weights.
pub(crate) struct Plant<B: GraftBackend> {
    manifest: Arc<Manifest>,
    kernel: KernelModule<B>,
    optimizer: Box<dyn KernelOptimizer<B>>,
    origin: KernelOrigin,
    /// The checksum of the artifact that it was built from; unknown for one out of a store that an older release wrote.
    artifact: Option<ArtifactDigest>,
    /// Whether it has learned since its weights were last saved.
    changed: bool,
}

/// What became of a request for a kernel.
pub(crate) enum Fetched {
    /// The kernel is staged.
    Ready(KernelFacts),
    /// It will not come.
    Failed(KernelFailure, KernelError),
    /// It is on its way.
    Later,
}

impl Fetched {
    pub(crate) fn failed(blueprint: &BlueprintId, error: KernelError) -> Self {
        let failure = KernelFailure {
            blueprint: blueprint.clone(),
            reason: error.reason(),
            detail: error.to_string(),
            source_failed: matches!(error, KernelError::Load(_)),
        };
        Self::Failed(failure, error)
    }
}

impl<B: GraftBackend> Tensors<B> {
    pub(crate) fn new(settings: &Settings, device: &B::Device) -> Self {
        Self {
            device: device.clone(),
            registry: Registry::default(),
            slots: BTreeMap::new(),
            planted: BTreeMap::new(),
            staged: BTreeMap::new(),
            optimizer: settings.training.optimizer,
            paths: Paths::new::<B>(settings.compile_monitor, device),
        }
    }

    pub(crate) const fn device(&self) -> &B::Device {
        &self.device
    }

    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) const fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    pub(crate) const fn slots(&self) -> &BTreeMap<SlotId, SlotShape> {
        &self.slots
    }

    /// Slots that a pass has shown. Nearly always they are those that the pass before has shown.
    pub(crate) fn learn_slots(&mut self, shapes: &BTreeMap<SlotId, SlotShape>) {
        for (slot, shape) in shapes {
            if self.slots.get(slot) != Some(shape) {
                self.slots.insert(slot.clone(), shape.clone());
            }
        }
    }

    /// Looks at a host through one pass without effect on it.
    pub(crate) fn attach_host<H: AutodiffModule<B>, R>(
        &mut self,
        host: &H,
        forward: impl FnOnce(&H, &mut Grafts<B>) -> R,
    ) -> Result<(), RegistryError> {
        self.registry.register_host(parameter_ids(host))?;
        self.learn_slots(&attach(host, forward));
        Ok(())
    }

    /// Knows the parameters of a model that has gained or lost a kernel.
    pub(crate) fn follow<M: AutodiffModule<B>>(&mut self, model: &M) {
        // Those of a seed that has joined were released when it was handed over.
        let _ = self.registry.register_host(parameter_ids(model));
    }

    /// What a kernel at the slot would have to take and give.
    pub(crate) fn contract(&self, slot: &SlotId) -> Option<Contract> {
        self.slots.get(slot).map(|shape| Contract {
            rank: shape.output.rank(),
            channels: (shape.input.channels(), shape.output.channels()),
            dtype: format!("{:?}", shape.output.dtype).to_lowercase().as_str().into(),
        })
    }

    /// Builds a kernel and stages it for the seed.
    pub(crate) fn stage(
        &mut self,
        seed: &SeedId,
        slot: &SlotId,
        blueprint: &BlueprintId,
        artifact: &VerifiedArtifact,
    ) -> Fetched {
        let manifest = artifact.manifest();
        let contract = contract_of(manifest);
        // After a restart a kernel can arrive before the host was looked at. It waits in the cache.
        let Some(shown) = self.contract(slot) else { return Fetched::Later };
        if shown != contract {
            let misfit = format!("the kernel takes {}; slot {slot} shows {}", describe(&contract), describe(&shown));
            return Fetched::failed(blueprint, KernelError::Misfit(misfit));
        }
        let kernel = artifact.build::<B>(&self.device);
        let plant = Plant {
            manifest: Arc::new(manifest.clone()),
            kernel,
            optimizer: self.optimizer.init(),
            // The type of `artifact` says so.
            origin: KernelOrigin::Verified,
            artifact: Some(artifact.digests().checksum),
            changed: true,
        };
        let ids = parameter_ids(&plant.kernel);
        let owned = ids.iter().find_map(|id| Some((*id, self.registry.owner(*id)?.clone())));
        if let Some((parameter, owner)) = owned {
            return Fetched::failed(blueprint, RegistryError::Owned { parameter, owner }.into());
        }
        let facts = KernelFacts { blueprint: blueprint.clone(), contract, parameters: ids.len() as u64 };
        self.staged.insert(seed.clone(), plant);
        Fetched::Ready(facts)
    }

    /// The checksum of the artifact that a seed's staged kernel was built from, and the ids of its parameters.
    pub(crate) fn staged_as(&self, seed: &SeedId) -> Option<(String, Vec<u64>)> {
        let plant = self.staged.get(seed)?;
        let ids = parameter_ids(&plant.kernel).into_iter().map(|id| id.val()).collect();
        Some((plant.artifact?.to_string(), ids))
    }

    /// Gives the parameters of a staged kernel the ids that they have on all workers.
    pub(crate) fn rename_staged(&mut self, seed: &SeedId, ids: &[ParamId]) {
        if let Some(plant) = self.staged.get_mut(seed) {
            plant.kernel = with_ids(plant.kernel.clone(), ids);
        }
    }

    /// Replaces the kernel of a grafted seed without a word to anybody.
    #[cfg(feature = "doubles")]
    pub(crate) fn tamper(&mut self, seed: &SeedId, replace: impl FnOnce(KernelModule<B>) -> KernelModule<B>) -> bool {
        let Some(plant) = self.planted.get_mut(seed) else { return false };
        plant.kernel = replace(plant.kernel.clone());
        plant.changed = true;
        true
    }

    /// Says that a substitute runs instead of a grafted seed's kernel.
    #[cfg(feature = "doubles")]
    pub(crate) fn mark_as_fallback(&mut self, seed: &SeedId) -> bool {
        self.planted.get_mut(seed).map(|plant| plant.origin = KernelOrigin::Fallback).is_some()
    }

    #[cfg(feature = "doubles")]
    pub(crate) fn kernel(&self, seed: &SeedId) -> Option<KernelModule<B>> {
        self.planted.get(seed).map(|plant| plant.kernel.clone())
    }

    /// Forgets the kernels of decisions that were dropped.
    pub(crate) fn unstage(&mut self) {
        self.staged.clear();
    }

    /// For G1: the kernel alone, on a ramp in the shape that its slot has shown.
    pub(crate) fn rehearse(&self, seed: &SeedId, slot: &SlotId, route: &Route) -> Option<Rehearsal> {
        let plant = self.staged.get(seed).or_else(|| self.planted.get(seed))?;
        let input = &self.slots.get(slot)?.input;
        // A kernel that does not run has no loss and no gradient that are numbers.
        let failed = Rehearsal { loss: f32::NAN, gradient_norm: f32::NAN };
        let measured = rehearse(&plant.kernel, input, route, &self.device);
        Some(measured.map_or(failed, |it| Rehearsal { loss: it.loss, gradient_norm: it.gradient_norm }))
    }

    /// For G3 and G5: what is registered, and whether it is the kernel's.
    pub(crate) fn ownership(&self, seed: &SeedId) -> OwnershipFacts {
        let own = self.planted.get(seed).map(|plant| parameter_ids(&plant.kernel)).unwrap_or_default();
        let registered: Vec<_> = self.registry.parameters_of(seed).collect();
        OwnershipFacts {
            own: own.len() as u64,
            registered: registered.len() as u64,
            foreign: registered.iter().filter(|parameter| !own.contains(parameter)).count() as u64,
        }
    }

    /// For G1 to G4: where the kernel comes from.
    pub(crate) fn origin(&self, seed: &SeedId) -> KernelOrigin {
        let plant = self.staged.get(seed).or_else(|| self.planted.get(seed));
        plant.map_or(KernelOrigin::Missing, |plant| plant.origin)
    }

    /// For G5: what is left of a culled seed.
    pub(crate) fn remains(&self, seed: &SeedId) -> Remains {
        let kernels = [&self.staged, &self.planted].into_iter().filter(|plants| plants.contains_key(seed)).count();
        // The cache of kernels is by blueprint: no entry is a seed's own.
        Remains { kernels: kernels as u64, ..Remains::default() }
    }

    /// Everybody who takes part in passes, the fossils of the model first.
    pub(crate) fn cast<'a>(
        &'a self,
        fossils: &'a [Fossil<B>],
        state: &'a State,
        clock: &Arc<dyn Clock>,
    ) -> Cast<'a, B> {
        cast(fossils, &self.planted, state, clock).routed(self.paths.detours(state))
    }

    /// The same, with what else a pass needs.
    pub(crate) fn for_pass<'a>(
        &'a mut self,
        fossils: &'a [Fossil<B>],
        state: &'a State,
        clock: &Arc<dyn Clock>,
    ) -> (Cast<'a, B>, &'a mut Registry, &'a B::Device) {
        let cast = cast(fossils, &self.planted, state, clock).routed(self.paths.detours(state));
        (cast, &mut self.registry, &self.device)
    }

    /// One optimizer step on a seed's kernel.
    pub(crate) fn learn(&mut self, seed: &SeedId, learning_rate: f64, gradients: GradientsParams) {
        let Some(plant) = self.planted.get_mut(seed) else { return };
        plant.kernel = plant.optimizer.step(learning_rate, plant.kernel.clone(), gradients);
        plant.changed = true;
    }

    /// A grafted kernel with what it was built from, as the model would have it.
    pub(crate) fn fossil(&self, seed: &Seed, provenance: Provenance) -> Option<Result<Fossil<B>, GrownError>> {
        let plant = self.planted.get(&seed.id)?;
        let (id, slot, blend) = (seed.id.clone(), seed.slot.clone(), seed.stage.blend()?.clone());
        let provenance = Provenance { artifact: plant.artifact, ..provenance };
        let spec = FossilSpec { seed: id, slot, blend, manifest: (*plant.manifest).clone(), provenance };
        Some(Fossil::new(spec, plant.kernel.clone()))
    }

    pub(crate) fn kernel_ref(&self, seed: &SeedId) -> Option<&KernelModule<B>> {
        self.planted.get(seed).map(|plant| &plant.kernel)
    }

    /// Does what an effect of a committed decision says, as far as tensors go.
    pub(crate) fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Attach { seed } | Effect::RestoreSeed { seed, .. } => {
                if let Some(plant) = self.staged.remove(seed) {
                    self.registry.release_seed(seed);
                    // Nobody owned them when they were staged, and only commits register.
                    let _ = self.registry.register_seed(seed, parameter_ids(&plant.kernel));
                    self.planted.insert(seed.clone(), plant);
                }
            }
            Effect::Detach { seed } | Effect::HandOver { seed } => {
                self.planted.remove(seed);
                self.staged.remove(seed);
                self.registry.release_seed(seed);
            }
            // The manager drops the teacher.
            Effect::Purge { .. } | Effect::Fetch { .. } | Effect::SaveWeights { .. } | Effect::CountPackets { .. } => {}
        }
    }

    /// Handles to every kernel, for a checkpoint in memory.
    pub(crate) fn planted(&self) -> Planted<B> {
        self.planted.clone()
    }

    /// Puts all kernels in the place of those that are there, and returns those. `saved` says that the store has these weights as
    /// the newest.
    pub(crate) fn replant(&mut self, mut planted: Planted<B>, saved: bool) -> Result<Planted<B>, RegistryError> {
        let mut registry = self.registry.clone();
        // A fossil may be a seed again. The next pass registers the model that it is given.
        registry.release_host();
        for seed in self.planted.keys() {
            registry.release_seed(seed);
        }
        for (seed, plant) in &mut planted {
            registry.register_seed(seed, parameter_ids(&plant.kernel))?;
            plant.changed = !saved;
        }
        self.registry = registry;
        Ok(std::mem::replace(&mut self.planted, planted))
    }

    /// Whether the seed has the kernel of a checkpoint, parameter for parameter.
    pub(crate) fn has_kernel_of(&self, seed: &SeedId, plant: &Plant<B>) -> bool {
        self.planted.get(seed).is_some_and(|now| parameter_ids(&now.kernel) == parameter_ids(&plant.kernel))
    }

    /// Stages the kernel out of a checkpoint that a seed goes back to.
    pub(crate) fn stage_checkpoint(&mut self, seed: SeedId, plant: Plant<B>) {
        self.staged.insert(seed, Plant { changed: true, ..plant });
    }

    /// The staged or grafted kernel's weights as bytes, if they are not saved yet.
    pub(crate) fn unsaved(&self, seed: &SeedId) -> Option<&Plant<B>> {
        self.staged.get(seed).or_else(|| self.planted.get(seed)).filter(|plant| plant.changed)
    }

    /// The weights of these seeds are durable.
    pub(crate) fn saved<'a>(&mut self, seeds: impl IntoIterator<Item = &'a SeedId>) {
        for seed in seeds {
            for plants in [&mut self.staged, &mut self.planted] {
                if let Some(plant) = plants.get_mut(seed) {
                    plant.changed = false;
                }
            }
        }
    }

    /// The seeds whose weights are not saved.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &SeedId> {
        self.planted.iter().filter(|(_, plant)| plant.changed).map(|(seed, _)| seed)
    }
}

impl<B: GraftBackend> Clone for Plant<B> {
    fn clone(&self) -> Self {
        let Self { manifest, kernel, optimizer, origin, artifact, changed } = self;
        let (manifest, kernel, optimizer) = (Arc::clone(manifest), kernel.clone(), optimizer.boxed());
        Self { manifest, kernel, optimizer, origin: *origin, artifact: *artifact, changed: *changed }
    }
}

impl<B: GraftBackend> Plant<B> {
    pub(crate) fn manifest(&self) -> String {
        self.manifest.canonical()
    }

    pub(crate) const fn artifact(&self) -> Option<ArtifactDigest> {
        self.artifact
    }

    /// The bytes of kernel and optimizer.
    pub(crate) fn to_bytes(&self) -> Result<(Vec<u8>, Vec<u8>), WeightsError> {
        Ok((module_to_bytes(&self.kernel)?, self.optimizer.to_bytes()?))
    }

    /// The kernel and optimizer that these bytes say.
    pub(crate) fn from_bytes(
        weights: &Weights,
        kernel: &[u8],
        optimizer: Vec<u8>,
        settings: &Settings,
        device: &B::Device,
    ) -> Result<Self, WeightsError> {
        let malformed = |detail: String| WeightsError::Malformed { what: "a kernel's manifest", detail };
        let manifest = Manifest::from_json(&weights.manifest).map_err(|error| malformed(error.to_string()))?;
        let blank = KernelModule::blank(&manifest, &settings.kernels.limits, device)
            .map_err(|error| malformed(error.to_string()))?;
        let kernel = module_from_bytes(blank, kernel, "a kernel", device)?;
        let optimizer = settings.training.optimizer.init().with_state(optimizer, device)?;
        // The store's digests stand for the artifact that they were built from.
        let origin = KernelOrigin::Verified;
        let (manifest, artifact) = (Arc::new(manifest), weights.artifact);
        Ok(Self { manifest, kernel, optimizer, origin, artifact, changed: false })
    }
}

fn cast<'a, B: GraftBackend>(
    fossils: &'a [Fossil<B>],
    planted: &'a Planted<B>,
    state: &'a State,
    clock: &Arc<dyn Clock>,
) -> Cast<'a, B> {
    let fossils = fossils.iter().map(|fossil| Participant {
        seed: fossil.seed(),
        slot: fossil.slot(),
        stage: SeedStageFossilized,
        kernel: fossil.kernel(),
        blend: fossil.blend(),
        alpha: Alpha::ONE,
        paused: false,
        learns: false,
    });
    let live = state.seeds.values().filter_map(|seed| participant(planted, seed));
    Cast::new(fossils.chain(live), Arc::clone(clock))
}

fn participant<'a, B: GraftBackend>(planted: &'a Planted<B>, seed: &'a Seed) -> Option<Participant<'a, B>> {
    const NO_BLEND: &BlendConfig = &BlendConfig::convex();
    let graft = seed.stage.graft()?;
    Some(Participant {
        seed: &seed.id,
        slot: &seed.slot,
        stage: seed.stage.leyline(),
        kernel: &planted.get(&seed.id)?.kernel,
        blend: seed.stage.blend().unwrap_or(NO_BLEND),
        alpha: seed.stage.alpha()?,
        paused: graft.paused,
        learns: matches!(seed.stage.turn(), Turn::Learns | Turn::Rides),
    })
}

fn contract_of(manifest: &Manifest) -> Contract {
    let contract = manifest.contract;
    Contract {
        rank: contract.rank,
        channels: (contract.channels_in, contract.channels_out),
        dtype: format!("{:?}", contract.dtype).to_lowercase().as_str().into(),
    }
}

fn describe(Contract { rank, channels: (channels_in, channels_out), dtype }: &Contract) -> String {
    format!("rank {rank}, {channels_in} to {channels_out} channels, {dtype}")
}
