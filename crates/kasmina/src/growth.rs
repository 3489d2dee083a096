//! The moves of a seed's life: evidence is gathered, the gate judges, and what follows from its verdict is done.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig};
use kasmina_gates::Verdict;
use kasmina_isolation::gradient_norm;
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{BlueprintId, SeedId, v1::SeedLifecycleStage::{self, *}};
use kasmina_lifecycle::{
    Evaluate, Fossilize, Gatekeeper, Germinate, GuardedMove, Reset, Stabilize, StartGrafting, StartTraining, Transition,
};

use crate::{
    Advance, GraftBackend, Refusal, SeedManager,
    seed::{Attached, Seed, Vitals},
};

impl<B: GraftBackend> SeedManager<B> {
    /// Does what is due by time alone: ends embargoes that have run out and puts the seeds before G5. Every batch and
    /// every command does this first.
    pub fn tick(&mut self) -> Vec<Transition> {
        let now = self.clock.monotonic();
        let due: Vec<SeedId> = self
            .seeds
            .values()
            .filter(|seed| seed.lifecycle.embargo_until().is_some_and(|until| until <= now))
            .map(|seed| seed.id.clone())
            .collect();
        due.iter().flat_map(|seed| self.end_embargo(seed)).collect()
    }

    /// DORMANT -> GERMINATED and, on the fast path, on to TRAINING.
    pub(crate) fn germinate(
        &mut self,
        id: &SeedId,
        blueprint: &BlueprintId,
        parameters: &BTreeMap<String, f32>,
        lr_scale: f64,
    ) -> Result<Vec<Transition>, Refusal> {
        self.seed(id)?;
        self.breaker_allows()?;
        let evidence = self.sanity(id, blueprint, parameters)?;
        let mut transitions = self.pass::<Germinate>(id, &evidence)?;
        self.load(id, blueprint, lr_scale).inspect_err(|refusal| {
            // The graft has failed, not the command's form: the slot rests like after any other cull.
            let _ = self.cull(id, refusal.reason());
        })?;
        if self.settings.lifecycle.fast_path {
            transitions.extend(self.start_training(id)?);
        }
        Ok(transitions)
    }
}
