//! What of the trainer goes back with the seeds.

use std::collections::BTreeMap;

use burn::{module::AutodiffModule, optim::Optimizer};
use kasmina_blending::GraftBackend;
use kasmina_grown::{Fossil, FossilSpec, Grown, HostModule};
use kasmina_isolation::independent_copy;
use kasmina_kernel_load::{
    ArtifactLimits, KernelModule,
    weights::{module_from_bytes, module_to_bytes, optimizer_from_bytes, optimizer_to_bytes},
};

use crate::error::CheckpointError;

/// A trainer's state as named bytes.
pub type Parts = BTreeMap<String, Vec<u8>>;

/// What of the trainer goes back with the seeds: its snapshot function.
///
/// [`ModelState`] is a grown network with its optimizer; [`SeedManager::checkpoint`](crate::SeedManager::checkpoint) and
/// [`roll_back`](crate::SeedManager::roll_back) use it. A trainer with more to restore, such as a place in its data, implements
/// this for what it has, with [`model_to_parts`] and [`model_from_parts`] for the network. Anything missing from the snapshot makes the
/// resumed run diverge from the original.
pub trait TrainerState: Send + Sized + 'static {
    /// A copy that further training does not change.
    fn snapshot(&self) -> Self;

    /// The state as named bytes, for the store.
    ///
    /// # Errors
    /// [`CheckpointError`]: then there is no checkpoint in the store.
    fn to_parts(&self) -> Result<Parts, CheckpointError>;

    /// Takes up what [`to_parts`](Self::to_parts) gave, perhaps in another process; parts that it does not know are not its own. A
    /// checkpoint that the manager took by itself, when the run began or a fossil joined, may have the network alone.
    ///
    /// # Errors
    /// [`CheckpointError`]: the state is as it was.
    fn take_parts(&mut self, parts: &Parts) -> Result<(), CheckpointError>;
}

/// A network and its optimizer, whose state the store keeps in 32-bit floats.
#[derive(Clone, Debug)]
pub struct ModelState<B: GraftBackend, H: HostModule<B>, O> {
    /// The network.
    pub model: Grown<B, H>,
    /// Its optimizer.
    pub optimizer: O,
    device: B::Device,
}

/// What was small enough to be planted is small enough to come back.
const NO_LIMITS: ArtifactLimits = ArtifactLimits {
    max_bytes: usize::MAX,
    max_header_bytes: usize::MAX,
    max_parameters: u64::MAX,
    max_layers: usize::MAX,
    max_nesting: usize::MAX,
};

const HOST: &str = "host";
const FOSSILS: &str = "fossils";
const OPTIMIZER: &str = "optimizer";

fn kernel_of(seed: &kasmina_leyline::SeedId) -> String {
    format!("fossil.{seed}")
}

impl<B: GraftBackend, H: HostModule<B>, O: Optimizer<Grown<B, H>, B>> ModelState<B, H, O> {
    /// A copy of both that further training does not change. Copies handles, no weights.
    #[must_use]
    pub fn of(model: &Grown<B, H>, optimizer: &O, device: &B::Device) -> Self {
        Self { model: independent_copy(model), optimizer: optimizer.clone(), device: device.clone() }
    }
}

impl<B, H, O> TrainerState for ModelState<B, H, O>
where
    B: GraftBackend,
    H: HostModule<B> + 'static,
    O: Optimizer<Grown<B, H>, B> + 'static,
{
    fn snapshot(&self) -> Self {
        Self::of(&self.model, &self.optimizer, &self.device)
    }

    fn to_parts(&self) -> Result<Parts, CheckpointError> {
        to_parts(&self.model, Some(&self.optimizer))
    }

    fn take_parts(&mut self, parts: &Parts) -> Result<(), CheckpointError> {
        let model = model_from_parts(&self.model, parts, &self.device)?;
        if let Some(state) = parts.get(OPTIMIZER) {
            let optimizer = self.optimizer.clone();
            self.optimizer = optimizer_from_bytes(optimizer, state.clone(), "the optimizer", &self.device)?;
        }
        self.model = model;
        Ok(())
    }
}

/// A network as named bytes: the host, a list of the fossils, and each of their kernels.
///
/// # Errors
/// [`CheckpointError::Weights`] if a tensor cannot be written.
pub fn model_to_parts<B: GraftBackend, H: HostModule<B>>(model: &Grown<B, H>) -> Result<Parts, CheckpointError> {
    // Running statistics are brought together on the way to the inner backend.
    let mut parts = Parts::from([(HOST.to_owned(), module_to_bytes(&model.host.valid())?)]);
    let specs: Vec<&FossilSpec> = model.fossils().iter().map(Fossil::spec).collect();
    parts.insert(FOSSILS.to_owned(), serde_json::to_vec(&specs).map_err(|error| malformed_fossils(&error))?);
    for fossil in model.fossils() {
        parts.insert(kernel_of(fossil.seed()), module_to_bytes(&fossil.kernel().valid())?);
    }
    Ok(parts)
}

/// The network that these bytes of [`model_to_parts`] say, on `device`. `like` has a host of the same structure, and is as it was. What is
/// frozen in it is frozen in the network; a fossil that it does not have learns.
///
/// # Errors
/// [`CheckpointError`] if a part is missing, malformed or of another host.
pub fn model_from_parts<B: GraftBackend, H: HostModule<B>>(
    like: &Grown<B, H>,
    parts: &Parts,
    device: &B::Device,
) -> Result<Grown<B, H>, CheckpointError> {
    let host = module_from_bytes(independent_copy(&like.host), blob(parts, HOST)?, "the host", device)?;
    let specs: Vec<FossilSpec> =
        serde_json::from_slice(blob(parts, FOSSILS)?).map_err(|error| malformed_fossils(&error))?;
    let fossils = specs.into_iter().map(|spec| {
        let blank = match like.fossil(&spec.seed).filter(|fossil| fossil.spec().manifest == spec.manifest) {
            Some(fossil) => independent_copy(fossil.kernel()),
            None => {
                KernelModule::blank(&spec.manifest, &NO_LIMITS, device).map_err(|error| malformed_fossils(&error))?
            }
        };
        let kernel = module_from_bytes(blank, blob(parts, &kernel_of(&spec.seed))?, "a fossil", device)?;
        Ok(Fossil::new(spec, kernel)?)
    });
    Ok(Grown::from_parts(host, fossils.collect::<Result<Vec<_>, CheckpointError>>()?)?)
}

/// The network, and the state of its optimizer if that is known.
pub(crate) fn to_parts<B, H, O>(model: &Grown<B, H>, optimizer: Option<&O>) -> Result<Parts, CheckpointError>
where
    B: GraftBackend,
    H: HostModule<B>,
    O: Optimizer<Grown<B, H>, B>,
{
    let mut parts = model_to_parts(model)?;
    if let Some(optimizer) = optimizer {
        parts.insert(OPTIMIZER.to_owned(), optimizer_to_bytes::<B, Grown<B, H>, O>(optimizer)?);
    }
    Ok(parts)
}

/// Whether these parts have an optimizer's state.
pub(crate) fn have_optimizer(parts: &Parts) -> bool {
    parts.contains_key(OPTIMIZER)
}

fn blob<'a>(parts: &'a Parts, name: &str) -> Result<&'a [u8], CheckpointError> {
    parts.get(name).map(Vec::as_slice).ok_or_else(|| CheckpointError::Missing { blob: name.to_owned() })
}

fn malformed_fossils(error: &dyn std::fmt::Display) -> CheckpointError {
    CheckpointError::Malformed { what: "the list of fossils", detail: error.to_string() }
}
