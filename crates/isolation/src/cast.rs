//! Who takes part in the passes of a step, and the views that follow from it.

use std::{collections::BTreeMap, sync::Arc};

use burn::module::AutodiffModule;
use kasmina_blending::{Alpha, BlendBackend, BlendConfig, GraftBackend};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{
    SeedId, SlotId,
    v1::SeedLifecycleStage::{self, SeedStageFossilized},
};
use kasmina_safety::Clock;

use crate::{AlphaSource, Grafts, Part, PassKind, Row, View, frozen_twin, grafts::Graft};

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
    /// Its schedule's alpha.
    pub alpha: Alpha,
    /// A paused seed takes part in no pass. Its slot passes the host's activation on.
    pub paused: bool,
    /// Whether its kernel learns in its own pass, although its stage is only measured there.
    pub fine_tuning: bool,
}

/// All seeds that hold a kernel, and the views of the network that follow from their stages.
///
/// Include the seeds that take part in no pass: a pass also proves that none of them got a gradient.
#[derive(Clone)]
pub struct Cast<'a, B: GraftBackend> {
    participants: Vec<Participant<'a, B>>,
    clock: Arc<dyn Clock>,
}

impl<'a, B: GraftBackend> Cast<'a, B> {
    /// A cast of these participants. If several share a slot, their kernels are applied in this order. Fossils are moved to the
    /// front; give them in the order in which they were committed. `clock` times kernels and blends.
    #[must_use]
    pub fn new(participants: impl IntoIterator<Item = Participant<'a, B>>, clock: Arc<dyn Clock>) -> Self {
        let mut participants: Vec<_> = participants.into_iter().collect();
        participants.sort_by_key(|participant| participant.stage != SeedStageFossilized);
        Self { participants, clock }
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

    /// The pass that trains the host: fossils are structure, and every slot has a tap, from which [`host_pass`](crate::host_pass)
    /// lets TRAINING seeds learn.
    #[must_use]
    pub fn host(&self) -> Grafts<B> {
        self.host_without(&[])
    }

    /// The host's pass without the seeds in `without`.
    #[must_use]
    pub fn host_without(&self, without: &[SeedId]) -> Grafts<B> {
        self.view(PassKind::Host, &View::Host, |participant, _| {
            (!without.contains(participant.seed)).then(|| participant.kernel.clone())
        })
    }

    /// The pass in which `seed` learns or is measured. Everything but its kernel is frozen. Use it with a
    /// [frozen twin](frozen_twin) of the host.
    #[must_use]
    pub fn seed(&self, seed: &SeedId) -> Grafts<B> {
        self.view(PassKind::Seed, &View::Seed(seed.clone()), |participant, part| Some(participant.in_seed_pass(part)))
    }

    /// The pass of `seed` without other live seeds as context.
    #[must_use]
    pub fn seed_alone(&self, seed: &SeedId) -> Grafts<B> {
        self.view(PassKind::Seed, &View::Seed(seed.clone()), |participant, part| {
            let wanted = part == Part::Committed || participant.seed == seed;
            wanted.then(|| participant.in_seed_pass(part))
        })
    }

    /// The network as inference and validation see it: fossils, PROBATIONARY seeds at alpha 1, BLENDING seeds at their alpha. Use
    /// it with `host.valid()`.
    #[must_use]
    pub fn live(&self) -> Grafts<B::InnerBackend> {
        self.view(PassKind::Live, &View::Live, |participant, _| Some(participant.kernel.valid()))
    }

    /// The network without the seeds under trial: the host and its fossils. Use it with `host.valid()`.
    #[must_use]
    pub fn committed(&self) -> Grafts<B::InnerBackend> {
        self.view(PassKind::Committed, &View::Live, |participant, part| {
            (part == Part::Committed).then(|| participant.kernel.valid())
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn view<C: BlendBackend>(
        &self,
        pass: PassKind,
        view: &View,
        kernel: impl Fn(&Participant<'a, B>, Part) -> Option<KernelModule<C>>,
    ) -> Grafts<C> {
        let mut slots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for participant in &self.participants {
            let part = participant.part(view);
            let Some(role) = part.role() else { continue };
            let Some(kernel) = kernel(participant, part) else { continue };
            let alpha = match Row::of(participant.stage).alpha {
                AlphaSource::Schedule => participant.alpha,
                AlphaSource::One => Alpha::ONE,
            };
            let (seed, blend) = (participant.seed.clone(), participant.blend.clone());
            slots.entry(participant.slot.clone()).or_default().push(Graft { seed, kernel, part, role, blend, alpha });
        }
        Grafts::new(pass, slots, Arc::clone(&self.clock))
    }
}

impl<B: GraftBackend> Participant<'_, B> {
    /// What the seed does in `view`: nothing while it is paused.
    #[must_use]
    pub fn part(&self, view: &View) -> Part {
        if self.paused { Part::Absent } else { Row::of(self.stage).part(self.seed, view) }
    }

    /// The kernel in the pass of a seed: frozen, unless it learns there.
    fn in_seed_pass(&self, part: Part) -> KernelModule<B> {
        let learns = match part {
            Part::Learning => true,
            Part::Probed => self.fine_tuning,
            Part::Absent | Part::Committed | Part::StraightThrough | Part::Context => false,
        };
        if learns { self.kernel.clone() } else { frozen_twin(self.kernel) }
    }
}

impl<B: GraftBackend> Clone for Participant<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: GraftBackend> Copy for Participant<'_, B> {}
