//! A host and its fossils as one module.

use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::tensor::backend::{AutodiffBackend, Backend};
use kasmina_blending::BlendBackend;
use kasmina_isolation::Grafts;
use kasmina_leyline::SeedId;

use crate::{ForwardError, Fossil, GrownError, PendingJoins};

/// A host and what has grown into it: one Burn module. An optimizer, gradient clipping, a recorder, [`valid`], [`fork`] and `no_grad` apply
/// to both.
///
/// Burn's recorder does not store how many fossils there are, and panics when it loads a record with another number: load a file of
/// [`save`](Self::save), or push the same fossils first.
///
/// [`valid`]: burn::module::AutodiffModule::valid
/// [`fork`]: Module::fork
#[derive(Module, Debug)]
pub struct Grown<B: Backend, H: Module<B>> {
    /// The host.
    pub host: H,
    fossils: Vec<Fossil<B>>,
    #[module(skip)]
    pending: PendingJoins,
}

/// A host that can be trained: any Burn module. It names the bounds under which a [`Grown`] of it is an [`AutodiffModule`].
pub trait HostModule<B: AutodiffBackend>: AutodiffModule<B, InnerModule: ModuleDisplay> + ModuleDisplay {}

impl<B: AutodiffBackend, H: AutodiffModule<B, InnerModule: ModuleDisplay> + ModuleDisplay> HostModule<B> for H {}

impl<B: Backend, H: Module<B>> Grown<B, H> {
    /// A host into which nothing has grown yet.
    #[must_use]
    pub fn new(host: H) -> Self {
        Self { host, fossils: Vec::new(), pending: PendingJoins::default() }
    }

    /// A host and its fossils, in the order in which they became part of it.
    ///
    /// # Errors
    /// [`GrownError::SeedTwice`].
    pub fn from_parts(host: H, fossils: impl IntoIterator<Item = Fossil<B>>) -> Result<Self, GrownError> {
        fossils.into_iter().try_fold(Self::new(host), |mut grown, fossil| grown.push(fossil).map(|()| grown))
    }

    /// The host and its fossils.
    #[must_use]
    pub fn into_parts(self) -> (H, Vec<Fossil<B>>) {
        (self.host, self.fossils)
    }

    /// Adds a fossil. At a slot that has some, it is applied after them. If its parameters get gradients in the next backward pass, an
    /// optimizer makes a state for them in its next step.
    ///
    /// # Errors
    /// [`GrownError::SeedTwice`] if there is a fossil of the same seed. Then nothing has changed.
    pub fn push(&mut self, fossil: Fossil<B>) -> Result<(), GrownError> {
        if self.fossil(fossil.seed()).is_some() {
            return Err(GrownError::SeedTwice { seed: fossil.seed().clone() });
        }
        self.fossils.push(fossil);
        Ok(())
    }

    /// Takes a fossil out: the network is one without it from now on. `None` if there is none of this seed.
    ///
    /// A manager that has grown it must be told: order TERMINATE instead, and the manager takes it out.
    pub fn remove(&mut self, seed: &SeedId) -> Option<Fossil<B>> {
        let index = self.fossils.iter().position(|fossil| fossil.seed() == seed)?;
        Some(self.fossils.remove(index))
    }

    /// The seeds that are about to become part of the network. While there are any, [`save`](Self::save) refuses.
    #[must_use]
    pub const fn pending(&self) -> &PendingJoins {
        &self.pending
    }

    /// The fossils, in the order in which they became part of the host.
    #[must_use]
    pub fn fossils(&self) -> &[Fossil<B>] {
        &self.fossils
    }

    /// The fossil of this seed.
    #[must_use]
    pub fn fossil(&self, seed: &SeedId) -> Option<&Fossil<B>> {
        self.fossils.iter().find(|fossil| fossil.seed() == seed)
    }
}

impl<B: BlendBackend, H: Module<B>> Grown<B, H> {
    /// What the host's forward takes: the fossils at their slots. They are structure, so that the gradient goes through them and to them.
    ///
    /// A kernel that does not fit its slot is skipped. [`forward`](Self::forward) checks for that.
    #[must_use]
    pub fn grafts(&self) -> Grafts<B> {
        let kernel = |fossil: &Fossil<B>| {
            (fossil.seed().clone(), fossil.slot().clone(), fossil.kernel().clone(), fossil.blend().clone())
        };
        Grafts::structure(self.fossils.iter().map(kernel))
    }

    /// The result of the closure, which runs the host's forward with the grafts. It is the same in training and in inference.
    ///
    /// # Errors
    /// [`ForwardError`] if a fossil did not fit its slot, or the forward did not come to its slot. The result would be that of another
    /// network. A host whose forward leaves out slots on purpose calls [`grafts`](Self::grafts) itself.
    pub fn forward<R>(&self, forward: impl FnOnce(&H, &mut Grafts<B>) -> R) -> Result<R, ForwardError> {
        let mut grafts = self.grafts();
        let result = forward(&self.host, &mut grafts);
        let trace = grafts.finish();
        if let Some(fault) = trace.faults.first() {
            return Err(ForwardError::Fault(fault.clone()));
        }
        match self.fossils.iter().find(|fossil| !trace.reached(fossil.slot())) {
            None => Ok(result),
            Some(fossil) => {
                Err(ForwardError::SlotNotReached { seed: fossil.seed().clone(), slot: fossil.slot().clone() })
            }
        }
    }
}
