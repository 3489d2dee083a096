//! What a host carries through its forward pass: the kernels grafted at its slots, as one view of the network sees them.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use burn::tensor::{DType, Tensor};
use kasmina_blending::{Alpha, BlendBackend, BlendConfig, barrier_blend, committed_blend, straight_through};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{SeedId, SlotId};
use kasmina_safety::Clock;

use crate::{
    reuse::{Activations, Reuse},
    slot::{Activation, SlotShape},
};

/// How a kernel takes part in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Differentiable structure: the blend passes gradients to the host and to the kernel.
    Structure,
    /// The host's tensor goes on untouched; the kernel gets a copy of the gradient.
    StraightThrough,
    /// Blended in; the host side is no parent of the blend.
    Barrier,
}

/// One kernel at a slot, for one pass.
#[derive(Debug)]
pub(crate) struct Graft<B: BlendBackend> {
    pub(crate) seed: SeedId,
    pub(crate) kernel: KernelModule<B>,
    pub(crate) role: Role,
    pub(crate) blend: BlendConfig,
    pub(crate) alpha: Alpha,
    /// Whether it is part of the host, in this view as in the host's own.
    pub(crate) committed: bool,
}

/// A graft that could not do its part in a pass. The host's activation went on as if the seed were not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Whose graft.
    pub seed: SeedId,
    /// Where.
    pub slot: SlotId,
    /// Why, machine-readable.
    pub reason: &'static str,
    /// Why, for a reader.
    pub detail: String,
}

/// The grafts of one pass: hand it to the host's forward, which calls [`at`](Self::at) at each of its slots.
///
/// A `Grafts` without kernels ([`Grafts::none`]) returns every activation as it came, bit for bit.
pub struct Grafts<B: BlendBackend> {
    slots: BTreeMap<SlotId, Vec<Graft<B>>>,
    shapes: BTreeMap<SlotId, SlotShape>,
    logits: Option<Tensor<B, 2>>,
    faults: Vec<Fault>,
    clock: Option<Arc<dyn Clock>>,
    blend_time: Duration,
    reuse: Reuse<B>,
}

impl<B: BlendBackend> Grafts<B> {
    /// No kernel anywhere: the bare host.
    #[must_use]
    pub fn none() -> Self {
        Self {
            slots: BTreeMap::new(),
            shapes: BTreeMap::new(),
            logits: None,
            faults: Vec::new(),
            clock: None,
            blend_time: Duration::ZERO,
            reuse: Reuse::No,
        }
    }

    pub(crate) fn new(slots: BTreeMap<SlotId, Vec<Graft<B>>>, clock: Arc<dyn Clock>) -> Self {
        Self { slots, clock: Some(clock), ..Self::none() }
    }

    /// The activation `h` at `slot` after the kernels grafted there. They read the activation that they modify.
    ///
    /// Shapes: `[batch, channels]`, `[batch, tokens, channels]` or `[batch, channels, height, width]`, in and out the
    /// same. A kernel that does not fit is passed over and becomes a [`Fault`].
    pub fn at<const D: usize>(&mut self, slot: &str, h: Tensor<B, D>) -> Tensor<B, D> {
        self.graft(slot, None::<Tensor<B, D>>, h)
    }

    /// Like [`at`](Self::at) for kernels that read the earlier activation `tap` and modify `h`.
    pub fn at_with_tap<const D: usize>(&mut self, slot: &str, tap: Tensor<B, D>, h: Tensor<B, D>) -> Tensor<B, D> {
        self.graft(slot, Some(tap), h)
    }

    /// Like [`at`](Self::at), with the computation of the activation as a closure. A seed's pass over the same batch then takes
    /// the activation that the host's pass has computed, instead of computing it again: the later the slot, the more that
    /// saves. The closure must not call `grafts`.
    pub fn at_lazy<const D: usize>(&mut self, slot: &str, h: impl FnOnce() -> Tensor<B, D>) -> Tensor<B, D> {
        if let Some((_, h)) = self.reuse.find(slot, &self.slots) {
            return self.graft(slot, None::<Tensor<B, D>>, h);
        }
        let h = h();
        self.reuse.keep(slot, None::<&Tensor<B, D>>, &h);
        self.graft(slot, None::<Tensor<B, D>>, h)
    }

    /// Like [`at_lazy`](Self::at_lazy) for kernels that read another activation than they modify; the closure gives both,
    /// `(tap, h)`.
    pub fn at_lazy_with_tap<const D: usize>(
        &mut self,
        slot: &str,
        compute: impl FnOnce() -> (Tensor<B, D>, Tensor<B, D>),
    ) -> Tensor<B, D> {
        if let Some((Some(tap), h)) = self.reuse.find(slot, &self.slots) {
            return self.graft(slot, Some(tap), h);
        }
        let (tap, h) = compute();
        self.reuse.keep(slot, Some(&tap), &h);
        self.graft(slot, Some(tap), h)
    }

    /// Offers the logits of this batch, `[batch, classes]`, to the CONFIDENCE blends behind this call and, from the host's
    /// pass, to the seeds' passes over the same batch. Without any, a CONFIDENCE blend is a fault.
    pub fn offer_logits(&mut self, logits: Tensor<B, 2>) {
        self.logits = Some(logits.detach());
    }

    /// What went wrong in the pass so far.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(crate) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    pub(crate) fn logits(&self) -> Option<&Tensor<B, 2>> {
        self.logits.as_ref()
    }

    /// Takes the grafts out that `unwanted` says yes to.
    pub(crate) fn leave_out(&mut self, unwanted: impl Fn(&Graft<B>) -> bool) {
        for grafts in self.slots.values_mut() {
            grafts.retain(|graft| !unwanted(graft));
        }
    }

    /// Lets the pass remember its lazy activations, for the passes of seeds.
    pub(crate) fn keep_activations(&mut self) {
        self.reuse = Reuse::Keep(Activations::default());
    }

    pub(crate) fn take_activations(&mut self) -> Activations<B> {
        match std::mem::replace(&mut self.reuse, Reuse::No) {
            Reuse::Keep(activations) => activations,
            Reuse::No | Reuse::From(_) => Activations::default(),
        }
    }

    /// Lets the pass take what the host's has computed, where that is the same.
    pub(crate) fn reuse(&mut self, activations: Activations<B>) {
        self.reuse = Reuse::From(activations);
    }

    /// The shapes that the slots showed in this pass.
    pub(crate) fn into_shapes(self) -> BTreeMap<SlotId, SlotShape> {
        self.shapes
    }

    /// The time that kernels and blends took in this pass.
    pub(crate) fn blend_time(&self) -> Duration {
        self.blend_time
    }

    fn graft<const D: usize>(&mut self, slot: &str, tap: Option<Tensor<B, D>>, h: Tensor<B, D>) -> Tensor<B, D> {
        self.observe(slot, tap.as_ref(), &h);
        self.reuse.pass_by(slot);
        let Some((slot, grafts)) = self.slots.get_key_value(slot) else {
            return h;
        };
        let started = self.clock.as_ref().map(|clock| clock.monotonic());
        let mut out = h;
        for graft in grafts {
            let input = tap.as_ref().unwrap_or(&out).clone();
            match graft.apply(input, out.clone(), self.logits.clone()) {
                Ok(blended) => out = blended,
                Err((reason, detail)) => {
                    self.faults.push(Fault { seed: graft.seed.clone(), slot: slot.clone(), reason, detail });
                }
            }
        }
        if let (Some(clock), Some(started)) = (&self.clock, started) {
            self.blend_time += clock.monotonic().since(started);
        }
        out
    }

    fn observe<const D: usize>(&mut self, slot: &str, tap: Option<&Tensor<B, D>>, h: &Tensor<B, D>) {
        if self.shapes.contains_key(slot) {
            return;
        }
        // A name that is no identifier can hold no seed, so there is nothing to remember.
        if let Ok(id) = SlotId::new(slot) {
            let out = Activation::of(h);
            let input = tap.map_or(out.clone(), Activation::of);
            self.shapes.insert(id, SlotShape { input, output: out });
        }
    }
}

impl<B: BlendBackend> Graft<B> {
    fn apply<const D: usize>(
        &self,
        input: Tensor<B, D>,
        host: Tensor<B, D>,
        logits: Option<Tensor<B, 2>>,
    ) -> Result<Tensor<B, D>, (&'static str, String)> {
        let input = match self.role {
            Role::Structure => input,
            Role::StraightThrough | Role::Barrier => input.detach(),
        };
        let seed = self.kernel.forward(input).map_err(|error| (error.reason(), error.to_string()))?;
        let blended = match self.role {
            Role::Structure => committed_blend(host, seed, &self.blend, self.alpha, logits),
            Role::StraightThrough => straight_through(host, seed),
            Role::Barrier => barrier_blend(host, seed, &self.blend, self.alpha, logits),
        };
        blended.map_err(|error| (error.reason(), error.to_string()))
    }
}

impl<B: BlendBackend> fmt::Debug for Grafts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels =
            self.slots.iter().map(|(slot, grafts)| (slot, grafts.iter().map(|graft| &graft.seed).collect::<Vec<_>>()));
        f.debug_map().entries(kernels).finish()
    }
}

impl Activation {
    pub(crate) fn of<B: BlendBackend, const D: usize>(tensor: &Tensor<B, D>) -> Self {
        Self { dims: tensor.dims().to_vec(), dtype: tensor.dtype() }
    }
}

/// The name that a manifest gives a data type.
pub(crate) fn dtype_name(dtype: DType) -> String {
    format!("{dtype:?}").to_lowercase()
}
