//! The manager's seeds as the passes of a step see them.

use std::collections::BTreeMap;

use kasmina_isolation::{Cast, Grafts, Participant, StepRng};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageFossilized};

use crate::{GraftBackend, SeedManager, TrainingSettings, seed::Seed};

impl<B: GraftBackend> SeedManager<B> {
    /// The pass that trains the host: fossils as structure, TRAINING seeds riding along straight-through.
    #[must_use]
    pub fn host_view(&self) -> Grafts<B> {
        self.cast().host()
    }

    /// The pass in which `seed` learns or is probed: everything but its kernel is frozen. Goes with
    /// [`frozen_twin`](kasmina_isolation::frozen_twin) of the host.
    #[must_use]
    pub fn seed_view(&self, seed: &SeedId) -> Grafts<B> {
        self.cast().seed(seed)
    }

    /// The network as inference and validation see it: fossils, PROBATIONARY seeds at alpha 1, BLENDING seeds at theirs.
    /// Goes with `host.valid()`.
    #[must_use]
    pub fn live_view(&self) -> Grafts<B::InnerBackend> {
        self.cast().live()
    }

    /// The network without the seeds under trial: the host and its fossils. Goes with `host.valid()`.
    #[must_use]
    pub fn committed_view(&self) -> Grafts<B::InnerBackend> {
        self.cast().committed()
    }

    pub(crate) fn cast(&self) -> Cast<'_, B> {
        Cast::new(participants(&self.seeds, &self.fossils), self.clock.clone())
    }

    pub(crate) fn rng(&self) -> StepRng<'_, B> {
        rng(&self.settings.training, &self.device, self.step)
    }
}

/// The random numbers of the step behind `step`.
pub(crate) fn rng<'a, B: GraftBackend>(
    settings: &TrainingSettings,
    device: &'a B::Device,
    step: u64,
) -> StepRng<'a, B> {
    StepRng::new(device, settings.reseed.then_some(settings.rng_seed), step)
}

/// All seeds that hold a kernel: fossils in the order in which they were committed, then the others by id.
pub(crate) fn participants<'a, B: GraftBackend>(
    seeds: &'a BTreeMap<SeedId, Seed<B>>,
    fossils: &'a [SeedId],
) -> impl Iterator<Item = Participant<'a, B>> {
    let fossils = fossils.iter().filter_map(|id| seeds.get(id));
    let others = seeds.values().filter(|seed| seed.stage() != SeedStageFossilized);
    fossils.chain(others).filter_map(Seed::participant)
}

impl<B: GraftBackend> Seed<B> {
    /// The seed as a pass sees it, if it holds a kernel.
    pub(crate) fn participant(&self) -> Option<Participant<'_, B>> {
        let attached = self.attached.as_ref()?;
        Some(Participant {
            seed: &self.id,
            slot: &self.slot,
            stage: self.stage(),
            kernel: &attached.kernel,
            blend: &attached.blend,
            alpha: attached.alpha,
            paused: attached.paused,
            fine_tuning: attached.fine_tune > 0,
        })
    }
}
