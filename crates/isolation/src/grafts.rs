//! What a host carries through its forward pass: the kernels grafted at its slots, as one view of the network sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use burn::tensor::{Tensor, TensorPrimitive};
use kasmina_blending::{Alpha, BlendBackend, BlendConfig, BlendMode, Stash, blend_weights};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{SeedId, SlotId};
use kasmina_safety::Clock;

use crate::{
    Activation, Activations, Fault, PassKind, Role, Route, SlotShape, Trace,
    reuse::{Kept, Reuse},
    riders::{Misfit, Visits},
    rng::Draws,
    watch::Watch,
};

/// The grafts of one pass. Give it to the host's forward, which calls [`at`](Self::at) at each of its slots.
///
/// A `Grafts` without kernels ([`Grafts::none`]) returns every activation unchanged, bit for bit.
pub struct Grafts<B: BlendBackend> {
    slots: BTreeMap<SlotId, Vec<Graft<B>>>,
    /// What times blends, if they are timed.
    clock: Option<Arc<dyn Clock>>,
    reuse: Reuse<B>,
    /// What riders will learn from. In a pass that has it, every slot has a tap.
    visits: Option<Visits<B>>,
    /// Where the random numbers after each slot begin. In a pass without it, they go on.
    draws: Option<Draws<B>>,
    watch: Option<Watch>,
    trace: Trace<B>,
}

/// One kernel at a slot, for one pass.
pub(crate) struct Graft<B: BlendBackend> {
    pub(crate) seed: SeedId,
    pub(crate) kernel: KernelModule<B>,
    pub(crate) route: Route,
    pub(crate) role: Role,
    pub(crate) blend: BlendConfig,
    pub(crate) alpha: Alpha,
}

impl<B: BlendBackend> Grafts<B> {
    /// No kernels and no taps: the bare host in plain Burn, for inference or as a control.
    #[must_use]
    pub fn none() -> Self {
        Self::bare(PassKind::Bare)
    }

    /// The activation `h` at `slot`, after the kernels that are grafted there. They read the activation that they modify.
    ///
    /// Shapes: `[batch, channels]`, `[batch, tokens, channels]` or `[batch, channels, height, width]`; the result has the shape of
    /// `h`. A kernel that does not fit is skipped and becomes a [`Fault`].
    pub fn at<const D: usize>(&mut self, slot: &str, h: Tensor<B, D>) -> Tensor<B, D> {
        self.graft(slot, None::<Tensor<B, D>>, h)
    }

    /// Like [`at`](Self::at), for kernels that read an earlier activation `tap` and modify `h`.
    pub fn at_with_tap<const D: usize>(&mut self, slot: &str, tap: Tensor<B, D>, h: Tensor<B, D>) -> Tensor<B, D> {
        self.graft(slot, Some(tap), h)
    }

    /// Like [`at`](Self::at), with a closure that computes the activation. The other passes over the same batch then reuse the
    /// activation from the host's pass instead of computing it again, if no slot before it belongs to a seed that is blended in or
    /// measured in this step. The later the slot is, the more this saves. The closure must not call `grafts`.
    pub fn at_lazy<const D: usize>(&mut self, slot: &str, h: impl FnOnce() -> Tensor<B, D>) -> Tensor<B, D> {
        if let Some((_, h)) = self.find(slot) {
            return self.graft(slot, None::<Tensor<B, D>>, h);
        }
        let h = h();
        self.keep(slot, None::<&Tensor<B, D>>, &h);
        self.graft(slot, None::<Tensor<B, D>>, h)
    }

    /// Like [`at_lazy`](Self::at_lazy), for kernels that read another activation than they modify. The closure returns both,
    /// `(tap, h)`.
    pub fn at_lazy_with_tap<const D: usize>(
        &mut self,
        slot: &str,
        compute: impl FnOnce() -> (Tensor<B, D>, Tensor<B, D>),
    ) -> Tensor<B, D> {
        if let Some((Some(tap), h)) = self.find(slot) {
            return self.graft(slot, Some(tap), h);
        }
        let (tap, h) = compute();
        self.keep(slot, Some(&tap), &h);
        self.graft(slot, Some(tap), h)
    }

    /// Gives the logits of this batch, `[batch, classes]`, to the CONFIDENCE blends after this call, and from the host's pass to the
    /// passes of seeds over the same batch. Without logits, a CONFIDENCE blend is a fault.
    pub fn offer_logits(&mut self, logits: Tensor<B, 2>) {
        self.trace.logits = Some(logits.detach());
    }

    /// The kind of this pass.
    #[must_use]
    pub fn pass(&self) -> PassKind {
        self.trace.pass
    }

    /// The faults of the pass so far.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.trace.faults
    }

    /// Ends the pass and returns its trace.
    #[must_use]
    pub fn finish(self) -> Trace<B> {
        self.finish_host().0
    }

    /// Ends the host's pass: what it leaves behind, and what its riders learn from.
    pub(crate) fn finish_host(self) -> (Trace<B>, Visits<B>) {
        let Self { reuse, mut trace, visits, .. } = self;
        if let Reuse::Keep(kept) = reuse {
            trace.activations = Activations::new(trace.order.clone(), kept);
        }
        (trace, visits.unwrap_or_default())
    }

    pub(crate) fn bare(pass: PassKind) -> Self {
        let trace = Trace::new(pass);
        Self { slots: BTreeMap::new(), clock: None, reuse: Reuse::No, visits: None, draws: None, watch: None, trace }
    }

    pub(crate) fn new(pass: PassKind, slots: BTreeMap<SlotId, Vec<Graft<B>>>, clock: Option<Arc<dyn Clock>>) -> Self {
        // Taps belong to the host's graph, whoever rides: they are there in every pass that trains it.
        let visits = (pass == PassKind::Host).then(Visits::default);
        Self { slots, clock, visits, ..Self::bare(pass) }
    }

    /// Whether this seed has a share in what leaves the slot.
    pub(crate) fn shares(&self, slot: &SlotId, seed: &SeedId) -> bool {
        let shares = |graft: &Graft<B>| graft.seed == *seed && !graft.has_no_share();
        self.slots.get(slot).is_some_and(|grafts| grafts.iter().any(shares))
    }

    /// The same grafts, for a pass of another kind.
    pub(crate) fn with_kind(mut self, pass: PassKind) -> Self {
        self.trace.pass = pass;
        self
    }

    /// Lets the pass keep its lazy activations for the passes of seeds.
    pub(crate) fn keep_activations(mut self) -> Self {
        self.reuse = Reuse::Keep(BTreeMap::new());
        self
    }

    /// Lets the pass reuse the logits of the host's pass, and its activations up to the first of the `unsettled` slots.
    pub(crate) fn after(mut self, host: &Trace<B>, unsettled: BTreeSet<SlotId>) -> Self {
        self.reuse = Reuse::From(host.activations.clone(), unsettled);
        self.trace.logits.clone_from(&host.logits);
        self
    }

    /// Lets the random numbers of the pass begin anew at every slot, if `draws` are there.
    pub(crate) fn drawing(mut self, draws: Option<Draws<B>>) -> Self {
        self.draws = draws;
        self
    }

    /// Keeps what leaves this slot.
    pub(crate) fn watching(mut self, slot: SlotId) -> Self {
        self.watch = Some(Watch::new(slot));
        self
    }

    /// Ends a pass that watched a slot: what has left it, visit by visit.
    pub(crate) fn finish_watch(self) -> Option<Watch> {
        self.watch
    }

    fn find<const D: usize>(&self, slot: &str) -> Option<(Option<Tensor<B, D>>, Tensor<B, D>)> {
        match &self.reuse {
            Reuse::From(activations, unsettled) => activations.find(slot, unsettled),
            Reuse::No | Reuse::Keep(_) => None,
        }
    }

    fn keep<const D: usize>(&mut self, slot: &str, tap: Option<&Tensor<B, D>>, h: &Tensor<B, D>) {
        if matches!(self.reuse, Reuse::Keep(_))
            && let Some(slot) = self.intern(slot)
            && let Reuse::Keep(kept) = &mut self.reuse
        {
            kept.insert(slot, Kept::new(tap, h));
        }
    }

    fn graft<const D: usize>(&mut self, slot: &str, tap: Option<Tensor<B, D>>, h: Tensor<B, D>) -> Tensor<B, D> {
        // No seed can be registered at a name that is not an identifier, so it need not be recorded.
        let Some(slot) = self.intern(slot) else { return h };
        let visit = self.observe(&slot, tap.as_ref(), &h);
        let out = self.blend(&slot, tap, h);
        if let Some(watch) = &mut self.watch {
            watch.see(&slot, &out);
        }
        if let Some(draws) = &self.draws {
            draws.start_after(&slot, visit);
        }
        out
    }

    fn blend<const D: usize>(&mut self, slot: &SlotId, tap: Option<Tensor<B, D>>, h: Tensor<B, D>) -> Tensor<B, D> {
        let Some(grafts) = self.slots.get(slot) else {
            return if self.visits.is_some() { kasmina_blending::tap(h, None) } else { h };
        };
        let mut out = h;
        for graft in grafts.iter().filter(|graft| graft.role != Role::StraightThrough) {
            let now = |clock: &Arc<dyn Clock>, after: &Tensor<B, D>| {
                wait_for(after);
                clock.monotonic()
            };
            let started = self.clock.as_ref().map(|clock| now(clock, &out));
            let input = tap.as_ref().unwrap_or(&out).clone();
            let (blended, done) = graft.apply(input, out, self.trace.logits.as_ref());
            out = blended;
            if let (Some(clock), Some(started)) = (&self.clock, started) {
                let time = self.trace.blend_times.entry(graft.seed.clone()).or_default();
                *time += now(clock, &out).since(started);
            }
            if let Err((reason, detail)) = done {
                self.trace.faults.push(Fault { seed: graft.seed.clone(), slot: slot.clone(), reason, detail });
            }
        }
        if let Some(visits) = &mut self.visits {
            let stash = grafts.iter().any(|graft| graft.role == Role::StraightThrough).then(Stash::new);
            if let Some(stash) = stash.clone() {
                visits.push(slot.clone(), tap, &out, stash);
            }
            out = kasmina_blending::tap(out, stash.as_ref());
        }
        out
    }

    /// The id of a slot. Its text is copied once for each slot and pass, and not at all if a kernel is grafted there.
    fn intern(&self, slot: &str) -> Option<SlotId> {
        let seen = self.trace.shapes.get_key_value(slot).map(|(id, _)| id);
        let known = seen.or_else(|| self.slots.get_key_value(slot).map(|(id, _)| id));
        known.cloned().or_else(|| SlotId::new(slot).ok())
    }

    /// Records a visit; returns how many there have been at this slot before.
    fn observe<const D: usize>(&mut self, slot: &SlotId, tap: Option<&Tensor<B, D>>, h: &Tensor<B, D>) -> usize {
        let before = self.trace.order.iter().filter(|other| *other == slot).count();
        self.trace.order.push(slot.clone());
        if !self.trace.shapes.contains_key(slot) {
            let output = Activation::of(h);
            let input = tap.map_or_else(|| output.clone(), Activation::of);
            self.trace.shapes.insert(slot.clone(), SlotShape { input, output });
        }
        before
    }
}

impl<B: BlendBackend> Grafts<B> {
    /// Kernels that are part of the network: each is blended in at alpha 1, and learns with the host. If several share a slot, they are
    /// applied in this order. There is no tap and no clock: this is what a grown network runs with when nothing is managed. The pass is
    /// of the kind [`Committed`](PassKind::Committed).
    #[must_use]
    pub fn structure(kernels: impl IntoIterator<Item = (SeedId, SlotId, KernelModule<B>, BlendConfig)>) -> Self {
        let mut slots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (seed, slot, kernel, blend) in kernels {
            let (role, alpha) = (Role::Structure, Alpha::ONE);
            slots.entry(slot).or_default().push(Graft { seed, kernel, route: Route::default(), role, blend, alpha });
        }
        Self { slots, ..Self::bare(PassKind::Committed) }
    }
}

/// Waits until a device that queues has computed the tensor. It reads a number of it: `B::sync` would take errors of the device with it, which
/// the read of the loss must find.
fn wait_for<B: BlendBackend, const D: usize>(tensor: &Tensor<B, D>) {
    if B::is_queued() && tensor.shape().num_elements() > 0 {
        drop(tensor.clone().detach().slice([(); D].map(|()| 0..1)).into_data());
    }
}

impl<B: BlendBackend> Graft<B> {
    /// The blended activation, or `host` unchanged with the reason and an explanation.
    fn apply<const D: usize>(
        &self,
        input: Tensor<B, D>,
        host: Tensor<B, D>,
        logits: Option<&Tensor<B, 2>>,
    ) -> (Tensor<B, D>, Result<(), Misfit>) {
        // A seed without a share passes no gradient on, whatever its weights are: zero times NaN is NaN.
        let input = if self.has_no_share() { input.detach() } else { input };
        let seed = match self.route.run(&self.kernel, input) {
            Ok(seed) => seed,
            Err(error) => return (host, Err((error.reason(), error.to_string()))),
        };
        let weights = match blend_weights(&host, &seed, &self.blend, self.alpha, logits.cloned()) {
            Ok(weights) => weights,
            Err(error) => return (host, Err((error.reason(), error.to_string()))),
        };
        let (host, seed) = (host.into_primitive().tensor(), seed.into_primitive().tensor());
        (Tensor::from_primitive(TensorPrimitive::Float(B::mix(host, seed, weights))), Ok(()))
    }

    fn has_no_share(&self) -> bool {
        self.alpha == Alpha::ZERO && self.blend.mode() != BlendMode::Confidence
    }
}

impl<B: BlendBackend> fmt::Debug for Grafts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels =
            self.slots.iter().map(|(slot, grafts)| (slot, grafts.iter().map(|graft| &graft.seed).collect::<Vec<_>>()));
        f.debug_map().entries(kernels).finish()
    }
}
