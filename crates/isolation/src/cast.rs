//! Who takes part in the passes of a step, and the views that follow from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use burn::module::AutodiffModule;
use kasmina_blending::{Alpha, BlendBackend, BlendConfig, GraftBackend};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{
    SeedId, SlotId,
    v1::SeedLifecycleStage::{self, SeedStageBlending, SeedStageFossilized, SeedStageProbationary, SeedStageShadowing},
};
use kasmina_safety::Clock;

use crate::{AlphaSource, Grafts, Override, Part, PassKind, Route, Row, View, frozen_twin, grafts::Graft};

/// A seed with its kernel, as the passes of a step need it. It borrows everything, so a copy is cheap.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct Participant<'a, B: GraftBackend> {
    pub seed: &'a SeedId,
    pub slot: &'a SlotId,
    /// Its part in each pass depends on this: [`Row`].
    pub stage: SeedLifecycleStage,
    pub kernel: &'a KernelModule<B>,
    pub blend: &'a BlendConfig,
    /// The alpha at which it is blended in while it is BLENDING or PROBATIONARY.
    pub alpha: Alpha,
    /// A paused seed takes part in no pass. Its slot passes the host's activation on.
    pub paused: bool,
    /// Whether its kernel learns at present. It counts in the stages in which a seed can learn: TRAINING, in the host's pass;
    /// BLENDING and PROBATIONARY, in the learning pass.
    pub learns: bool,
}

/// All seeds that hold a kernel, and the views of the network that follow from their stages.
///
/// Include the seeds that take part in no pass: a pass also proves that none of them got a gradient. The kernels of fossils
/// (FOSSILIZED) must be parameters of the host that the passes are given, which learn with it.
#[derive(Clone)]
pub struct Cast<'a, B: GraftBackend> {
    participants: Vec<Participant<'a, B>>,
    clock: Arc<dyn Clock>,
    times_blends: bool,
    /// How kernels are run that do not take the fused path.
    routes: BTreeMap<SeedId, Route>,
}

impl<'a, B: GraftBackend> Cast<'a, B> {
    /// A cast of these participants. If several share a slot, their kernels are applied in this order. Fossils are moved to the
    /// front; give them in the order in which they were committed. `clock` times passes, kernels and blends.
    #[must_use]
    pub fn new(participants: impl IntoIterator<Item = Participant<'a, B>>, clock: Arc<dyn Clock>) -> Self {
        let mut participants: Vec<_> = participants.into_iter().collect();
        participants.sort_by_key(|participant| participant.stage != SeedStageFossilized);
        Self { participants, clock, times_blends: true, routes: BTreeMap::new() }
    }

    /// The same cast, in which these seeds take these routes. All others take the fused path. A fossil always does, because it is part
    /// of the host.
    #[must_use]
    pub fn routed(self, routes: impl IntoIterator<Item = (SeedId, Route)>) -> Self {
        let mut routes: BTreeMap<_, _> = routes.into_iter().collect();
        for fossil in self.participants.iter().filter(|other| other.stage == SeedStageFossilized) {
            routes.remove(fossil.seed);
        }
        Self { routes, ..self }
    }

    /// Whether passes behind the barrier measure how long each seed's kernel and blend take. They do if this is not called. On a device
    /// that [queues](BlendBackend::is_queued), it is waited for before and after each of them, so let only some steps do it.
    #[must_use]
    pub fn timing_blends(self, times_blends: bool) -> Self {
        Self { times_blends, ..self }
    }

    /// All participants, fossils first.
    #[must_use]
    pub fn participants(&self) -> &[Participant<'a, B>] {
        &self.participants
    }

    /// The participant with this id.
    #[must_use]
    pub fn participant(&self, seed: &SeedId) -> Option<&Participant<'a, B>> {
        self.participants.iter().find(|participant| participant.seed == seed)
    }

    /// The seeds that learn in the [learning pass](crate::learning_pass).
    pub fn learners(&self) -> impl Iterator<Item = &Participant<'a, B>> {
        self.participants.iter().filter(|participant| participant.part(View::Learning) == Part::Learning)
    }

    /// The seeds that are blended into the live view: BLENDING and PROBATIONARY ones that are not paused.
    pub fn blended(&self) -> impl Iterator<Item = &Participant<'a, B>> {
        self.participants.iter().filter(|participant| participant.part(View::Live) == Part::Context)
    }

    /// The pass that trains the host: fossils are structure, and every slot has a tap, from which [`host_pass`](crate::host_pass)
    /// lets TRAINING seeds learn.
    #[must_use]
    pub fn host(&self) -> Grafts<B> {
        self.view(PassKind::Host, View::Host, |participant, _| Some(participant.kernel.clone()))
    }

    /// The pass in which all seeds learn that are blended in. Every kernel that does not learn is frozen. Use it with a
    /// [frozen twin](frozen_twin) of the host.
    #[must_use]
    pub fn learning(&self) -> Grafts<B> {
        self.learning_without(&BTreeSet::new())
    }

    /// The learning pass without the seeds in `without`.
    #[must_use]
    pub fn learning_without(&self, without: &BTreeSet<SeedId>) -> Grafts<B> {
        self.view(PassKind::Learning, View::Learning, |participant, part| {
            (!without.contains(participant.seed)).then(|| participant.kernel_in(part))
        })
    }

    /// The network as inference and validation see it: fossils, and BLENDING and PROBATIONARY seeds at their alpha. Use it with
    /// `host.valid()`.
    #[must_use]
    pub fn live(&self) -> Grafts<B::InnerBackend> {
        self.view(PassKind::Live, View::Live, |participant, _| Some(participant.kernel.valid()))
    }

    /// The live view in training mode, with these overrides. Nothing in it has a gradient. Use it with a
    /// [frozen twin](frozen_twin) of the host.
    #[must_use]
    pub fn measured(&self, overrides: &[Override<'_>]) -> Grafts<B> {
        self.build(PassKind::Measure, |participant| {
            let (part, alpha) = match overrides.iter().find(|other| other.seed == participant.seed) {
                None => (participant.part(View::Live), participant.blended_at()),
                Some(Override { alpha: None, .. }) => return None,
                Some(Override { alpha: Some(alpha), .. }) => (Part::Context, *alpha),
            };
            part.role()?;
            Some((part, alpha, participant.kernel_in(part)))
        })
    }

    /// The network without the seeds under trial: the host and its fossils. Use it with `host.valid()`.
    #[must_use]
    pub fn committed(&self) -> Grafts<B::InnerBackend> {
        self.view(PassKind::Committed, View::Live, |participant, part| {
            (part == Part::Committed).then(|| participant.kernel.valid())
        })
    }

    /// The same cast with other participants.
    pub(crate) fn altered(&self, alter: impl Fn(Participant<'a, B>) -> Option<Participant<'a, B>>) -> Self {
        let participants = self.participants.iter().filter_map(|participant| alter(*participant)).collect();
        let Self { clock, times_blends, routes, .. } = self;
        Self { participants, clock: Arc::clone(clock), times_blends: *times_blends, routes: routes.clone() }
    }

    /// The slots at which the measures of this step may find another activation than the host's pass, whether a seed is in or not:
    /// those of the seeds that are measured, and of `others`.
    pub(crate) fn unsettled(&self, others: &[Override<'_>]) -> BTreeSet<SlotId> {
        let measured = |participant: &&Participant<'a, B>| {
            matches!(participant.stage, SeedStageBlending | SeedStageShadowing | SeedStageProbationary)
                || others.iter().any(|other| other.seed == participant.seed)
        };
        self.participants.iter().filter(measured).map(|participant| participant.slot.clone()).collect()
    }

    /// How the seed's kernel is run.
    pub(crate) fn route(&self, seed: &SeedId) -> Route {
        self.routes.get(seed).cloned().unwrap_or_default()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn view<C: BlendBackend>(
        &self,
        pass: PassKind,
        view: View,
        kernel: impl Fn(&Participant<'a, B>, Part) -> Option<KernelModule<C>>,
    ) -> Grafts<C> {
        self.build(pass, |participant| {
            let part = participant.part(view);
            part.role()?;
            Some((part, participant.blended_at(), kernel(participant, part)?))
        })
    }

    fn build<C: BlendBackend>(
        &self,
        pass: PassKind,
        choose: impl Fn(&Participant<'a, B>) -> Option<(Part, Alpha, KernelModule<C>)>,
    ) -> Grafts<C> {
        let mut slots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for participant in &self.participants {
            let Some((part, alpha, kernel)) = choose(participant) else { continue };
            let Some(role) = part.role() else { continue };
            let (seed, blend) = (participant.seed.clone(), participant.blend.clone());
            let route = self.route(&seed);
            slots.entry(participant.slot.clone()).or_default().push(Graft { seed, kernel, route, role, blend, alpha });
        }
        let is_timed = self.times_blends && matches!(pass, PassKind::Learning | PassKind::Measure);
        Grafts::new(pass, slots, is_timed.then(|| Arc::clone(&self.clock)))
    }
}

impl<B: GraftBackend> Participant<'_, B> {
    /// What the seed does in `view`: nothing while it is paused.
    #[must_use]
    pub fn part(&self, view: View) -> Part {
        if self.paused { Part::Absent } else { Row::of(self.stage).part(view, self.learns) }
    }

    /// Its alpha in the views that it is blended into.
    fn blended_at(&self) -> Alpha {
        match Row::of(self.stage).alpha {
            AlphaSource::Given => self.alpha,
            AlphaSource::One => Alpha::ONE,
        }
    }

    /// Its kernel in a view behind the barrier: frozen, unless it learns there.
    fn kernel_in(&self, part: Part) -> KernelModule<B> {
        if part == Part::Learning { self.kernel.clone() } else { frozen_twin(self.kernel) }
    }
}

impl<B: GraftBackend> Clone for Participant<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: GraftBackend> Copy for Participant<'_, B> {}
