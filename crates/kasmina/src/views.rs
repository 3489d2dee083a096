//! The views of the network: which kernel takes part in a pass, and how.

use std::{collections::BTreeMap, sync::Arc};

use burn::module::AutodiffModule;
use kasmina_blending::{Alpha, BlendBackend};
use kasmina_isolation::{Part, View, frozen_twin, part};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{SeedStageBlending, SeedStageFossilized},
};

use crate::{
    GraftBackend, SeedManager,
    grafts::{Graft, Grafts, Role},
    seed::{Attached, Seed},
};

impl<B: GraftBackend> SeedManager<B> {
    /// The pass that trains the host: fossils as structure, TRAINING seeds riding along straight-through.
    #[must_use]
    pub fn host_view(&self) -> Grafts<B> {
        self.host_view_without(&[])
    }

    /// The pass in which `seed` learns or is probed: everything but its kernel is frozen. Goes with
    /// [`frozen_twin`](kasmina_isolation::frozen_twin) of the host.
    #[must_use]
    pub fn seed_view(&self, seed: &SeedId) -> Grafts<B> {
        self.view(&View::Seed(seed.clone()), |attached, part| match part {
            Part::Learning => attached.kernel.clone(),
            Part::Probed if attached.fine_tune > 0 => attached.kernel.clone(),
            Part::Absent | Part::Committed | Part::StraightThrough | Part::Context | Part::Probed => {
                frozen_twin(&attached.kernel)
            }
        })
    }

    /// The pass of `seed` without other live seeds as context.
    pub(crate) fn seed_view_alone(&self, seed: &SeedId) -> Grafts<B> {
        let mut view = self.seed_view(seed);
        view.leave_out(|graft| !graft.committed && graft.seed != *seed);
        view
    }

    /// The network as inference and validation see it: fossils, PROBATIONARY seeds at alpha 1, BLENDING seeds at theirs.
    /// Goes with `host.valid()`.
    #[must_use]
    pub fn live_view(&self) -> Grafts<B::InnerBackend> {
        self.view(&View::Live, |attached, _| attached.kernel.valid())
    }

    /// The network without the seeds under trial: the host and its fossils. Goes with `host.valid()`.
    #[must_use]
    pub fn committed_view(&self) -> Grafts<B::InnerBackend> {
        self.assemble(|seed| {
            let (attached, part) = self.part(seed, &View::Live)?;
            (part == Part::Committed).then(|| graft(seed, attached, part, attached.kernel.valid()))
        })
    }

    /// The host's pass without the riders in `without`.
    pub(crate) fn host_view_without(&self, without: &[SeedId]) -> Grafts<B> {
        self.assemble(|seed| {
            let (attached, part) = self.part(seed, &View::Host)?;
            (!without.contains(&seed.id)).then(|| graft(seed, attached, part, attached.kernel.clone()))
        })
    }

    fn view<C: BlendBackend>(&self, view: &View, kernel: impl Fn(&Attached<B>, Part) -> KernelModule<C>) -> Grafts<C> {
        self.assemble(|seed| {
            let (attached, part) = self.part(seed, view)?;
            Some(graft(seed, attached, part, kernel(attached, part)))
        })
    }

    /// The seed's kernel and its part in the view; `None` where it has none.
    pub(crate) fn part<'a>(&self, seed: &'a Seed<B>, view: &View) -> Option<(&'a Attached<B>, Part)> {
        let attached = seed.attached.as_ref()?;
        let part = part(seed.stage(), &seed.id, view);
        // A paused seed is the identity: its slot passes the host's activation on.
        let absent = part == Part::Absent || attached.paused;
        (!absent).then_some((attached, part))
    }

    /// Fossils come first at every slot, in the order in which they were committed.
    fn assemble<C: BlendBackend>(&self, graft: impl Fn(&Seed<B>) -> Option<Graft<C>>) -> Grafts<C> {
        let mut slots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let fossils = self.fossils.iter().filter_map(|id| self.seeds.get(id));
        let under_trial = self.seeds.values().filter(|seed| seed.stage() != SeedStageFossilized);
        for seed in fossils.chain(under_trial) {
            if let Some(graft) = graft(seed) {
                slots.entry(seed.slot.clone()).or_default().push(graft);
            }
        }
        Grafts::new(slots, Arc::clone(&self.clock))
    }
}

/// The kernel as it takes part in one pass.
pub(crate) fn graft<B: GraftBackend, C: BlendBackend>(
    seed: &Seed<B>,
    attached: &Attached<B>,
    part: Part,
    kernel: KernelModule<C>,
) -> Graft<C> {
    let role = match part {
        Part::StraightThrough => Role::StraightThrough,
        Part::Learning | Part::Probed => Role::Barrier,
        Part::Absent | Part::Committed | Part::Context => Role::Structure,
    };
    let alpha = if seed.stage() == SeedStageBlending { attached.alpha } else { Alpha::ONE };
    let committed = part == Part::Committed;
    Graft { seed: seed.id.clone(), kernel, role, blend: attached.blend.clone(), alpha, committed }
}
