//! Kernels before their first pass, and the watch over their first executions. Nothing here is part of a pass.

use kasmina_blending::GraftBackend;
use kasmina_isolation::{PrewarmError, Trial};
use kasmina_leyline::{BlueprintId, SeedId, SlotId};
use kasmina_safety::{Execution, KernelPath, Outcome, PathChange};
use kasmina_telemetry::{Metric, names};

use super::door::Batch;
use crate::{error::KernelError, events, manager::SeedManager, tensors::Fetched};

/// A kernel that is to be run alone.
struct Candidate {
    seed: SeedId,
    slot: SlotId,
    blueprint: BlueprintId,
}

impl<B: GraftBackend> SeedManager<B> {
    /// What was fetched, once it has run: a kernel that does not run fails its graft.
    pub(super) fn prewarmed(&mut self, seed: &SeedId, fetched: Fetched, batch: &mut Batch) -> Fetched {
        match fetched {
            Fetched::Ready(facts) => match self.prewarm(seed, &facts.blueprint, batch) {
                Ok(()) => Fetched::Ready(facts),
                Err(error) => Fetched::failed(&facts.blueprint, error),
            },
            other @ (Fetched::Failed(..) | Fetched::Later) => other,
        }
    }

    /// Runs a staged kernel for the first time, before anything depends on it: what the device compiles for it is compiled now. On a
    /// device that fuses, its first executions are watched now, too.
    fn prewarm(&mut self, seed: &SeedId, blueprint: &BlueprintId, batch: &mut Batch) -> Result<(), KernelError> {
        let Some(slot) = self.state().seeds.get(seed).map(|seed| seed.slot.clone()) else { return Ok(()) };
        if !self.settings.kernels.prewarm {
            return Ok(());
        }
        let started = self.clock.monotonic();
        let candidate = Candidate { seed: seed.clone(), slot, blueprint: blueprint.clone() };
        if self.tensors.paths().due(blueprint, started) > 0 {
            self.watch(&candidate)?;
        }
        let route = self.tensors.paths().route(blueprint);
        self.tensors.prewarm(&candidate.seed, &candidate.slot, &route).transpose()?;
        let took = self.clock.monotonic().since(started);
        let metric = Metric::new(names::PREWARM_MS, took.as_secs_f64() * 1e3);
        batch.note(move |to| to.metric(Some(&candidate.seed), metric));
        Ok(())
    }

    /// Runs what is due of the watch over grafted kernels: the first executions of kernels that were not prewarmed, and trials of those
    /// on the plain path. As a rule, nothing.
    pub(super) fn watch_kernels(&mut self) {
        let now = self.clock.monotonic();
        let due = |seed: &kasmina_engine::Seed| {
            let blueprint = &seed.stage.graft()?.blueprint;
            let candidate =
                || Candidate { seed: seed.id.clone(), slot: seed.slot.clone(), blueprint: blueprint.clone() };
            (self.tensors.paths().due(blueprint, now) > 0).then(candidate)
        };
        let candidates: Vec<_> = self.state().seeds.values().filter_map(due).collect();
        for candidate in candidates {
            // Another seed with the same kernel may have had its trial just now.
            if self.tensors.paths().due(&candidate.blueprint, now) == 0 {
                continue;
            }
            if let Err(error) = self.watch(&candidate) {
                // There is nothing to compare with. The passes will tell what is wrong with the kernel.
                let outcome = Outcome::Failed { reason: error.reason() };
                self.record(&candidate, Execution { took: std::time::Duration::ZERO, outcome });
            }
        }
    }

    /// Compares executions on the fused path with one on the plain path, as many as are due.
    ///
    /// # Errors
    /// [`PrewarmError`] if the kernel does not run on the plain path.
    fn watch(&mut self, candidate: &Candidate) -> Result<(), PrewarmError> {
        let Candidate { seed, slot, blueprint } = candidate;
        let plain = self.tensors.trial(seed, slot, &KernelPath::Plain.into(), &*self.clock).transpose()?;
        let Some(plain) = plain else { return Ok(()) };
        let due = self.tensors.paths().due(blueprint, self.clock.monotonic());
        // A kernel on the plain path has run on the other one before.
        let path = self.tensors.paths().path(blueprint);
        let is_new = path == KernelPath::Fused && due == self.settings.compile_monitor.executions;
        let mut largest: Option<f32> = None;
        for index in 0..due {
            let fused = self.tensors.paths().fused(blueprint);
            let Some(fused) = self.tensors.trial(seed, slot, &fused, &*self.clock) else { return Ok(()) };
            let execution = Trial::execution(&fused, &plain);
            if index == 0 && is_new {
                let took = Metric::new(names::KERNEL_FIRST_EXECUTION, execution.took.as_secs_f64() * 1e3);
                self.reporter.metric(Some(seed), took);
            }
            if let Outcome::Compared { difference, .. } = execution.outcome {
                // NaN is more than any number.
                largest = largest.filter(|known| *known >= difference).or(Some(difference));
            }
            if self.record(candidate, execution).is_some() {
                break;
            }
        }
        if let Some(largest) = largest {
            self.reporter.metric(Some(seed), Metric::new(names::KERNEL_FUSED_DIFFERENCE, largest));
        }
        Ok(())
    }

    /// Tells the monitor of an execution, and everybody of a change of path.
    fn record(&mut self, candidate: &Candidate, execution: Execution) -> Option<PathChange> {
        let blueprint = &candidate.blueprint;
        let change = self.tensors.paths_mut().record(blueprint, execution, self.clock.monotonic())?;
        let has_it = |seed: &&kasmina_engine::Seed| {
            seed.id == candidate.seed || seed.stage.graft().is_some_and(|graft| graft.blueprint == *blueprint)
        };
        let moved: Vec<_> = self.state().seeds.values().filter(has_it).map(|seed| seed.id.clone()).collect();
        for seed in moved {
            self.reporter.emit(Some(&seed), events::path_changed(blueprint, self.tensors.paths().device(), &change));
        }
        Some(change)
    }
}
