//! A manager, the kernels that it can graft, and the policy that gives it orders.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use burn::module::Module;
use kasmina::{
    Refusal, SeedManager, Settings, StepReport,
    engine::{self, Observation, Policy, Stage},
    kernel_load::{Initialisation, Manifest, doubles::MemoryLibrary},
    leyline::{
        BlueprintId, SeedId, SlotId, TrainingRunId,
        v1::{FieldReport, TelemetryPacket},
    },
    telemetry::{Sink, SinkError, field_report},
};

use super::{
    GrowthError,
    hosts::{B, Device, Network, Shape},
    policy::{Candidate, GrowWhereItPulls, Grown},
    recipe::Recipe,
    training::{Run, loss},
};
use crate::progress::Progress;

/// Limits on times would make a run depend on what else the machine does. In milliseconds.
const NO_HURRY: u64 = 600_000;

/// Grows a network.
pub(super) struct Gardener {
    pub(super) manager: SeedManager<B>,
    policy: GrowWhereItPulls,
    /// Parameters of each seed's kernel.
    parameters: BTreeMap<SeedId, u64>,
    ends: Ends,
    rate_on_trial: f64,
    /// The reason for which a gate has postponed since it last let a seed pass.
    postponed: Option<&'static str>,
}

/// The reports on seeds whose life has ended.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<FieldReport>>>);

impl Sink for Ends {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        let reports = packet.events.iter().filter_map(field_report).filter_map(Result::ok);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(reports);
        Ok(())
    }
}

impl Gardener {
    /// A manager that knows the slots of the model, and has several seeds registered for each.
    pub(super) fn new(
        shape: &Shape,
        model: &kasmina::Grown<B, Network<B>>,
        run: &Run<'_>,
    ) -> Result<Self, GrowthError> {
        let library = MemoryLibrary::new();
        let mut random = fastrand::Rng::with_seed(run.seed);
        let mut candidates = Vec::new();
        for number in 1..=run.recipe.growth.seeds_per_slot {
            for site in shape.sites() {
                let name = format!("{}-{number}", site.slot);
                let manifest = Manifest::new(BlueprintId::new(name.clone())?, site.contract, site.layers)?;
                library.add(&manifest, &Initialisation { seed: random.u64(..), zero_last: true })?;
                candidates.push(Candidate {
                    seed: SeedId::new(name)?,
                    slot: site.slot,
                    blueprint: manifest.blueprint_id,
                    parameters: manifest.parameter_count,
                });
            }
        }
        let ends = Ends::default();
        let mut manager = SeedManager::<B>::builder(TrainingRunId::new(format!("growth-{}", run.seed))?)
            .settings(settings(run.recipe))
            .kernels(library)
            .sink(ends.clone())
            .volatile()
            .build(&Device::default())?;
        let batch = run.data.train.batch(&[0], None);
        manager.attach_host(model, |host, grafts| loss(host, &batch, grafts))?;
        for candidate in &candidates {
            manager.register_seed(candidate.seed.clone(), SlotId::new(candidate.slot)?)?;
        }
        let parameters = candidates.iter().map(|it| (it.seed.clone(), it.parameters)).collect();
        let rules = run.recipe.rules(model.num_params(), run.steps());
        let policy = GrowWhereItPulls::new(rules, candidates);
        let rate_on_trial = run.recipe.growth.rate_on_trial;
        Ok(Self { manager, policy, parameters, ends, rate_on_trial, postponed: None })
    }

    /// Parameters of the seeds that learn in the next step.
    pub(super) fn learning(&self) -> u64 {
        let learns = |stage: &Stage| matches!(stage, Stage::Training(_) | Stage::Blending(..));
        let seeds = self.manager.state().seeds.values().filter(|seed| learns(&seed.stage));
        seeds.filter_map(|seed| self.parameters.get(&seed.id)).sum()
    }

    /// The share of its learning rate by which the network learns in the next step.
    pub(super) fn share_of_rate(&self) -> f64 {
        let on_trial = |stage: &Stage| matches!(stage, Stage::Shadowing(..) | Stage::Probationary(..));
        let is_judged = self.manager.state().seeds.values().any(|seed| on_trial(&seed.stage));
        if is_judged { self.rate_on_trial } else { 1.0 }
    }

    /// Asks the policy and carries out its orders. It is asked here and not by the manager, because an order that is given between two steps
    /// waits for its kernel: so a run does not depend on how long that takes.
    pub(super) fn tend(&mut self, report: &StepReport, progress: &Progress) {
        for seed in &report.joined {
            progress.print(format_args!("  step {:>6}  {seed} is part of the network", report.step));
        }
        if let Some((seed, why)) = self.take_ends() {
            progress.print(format_args!("  step {:>6}  {seed} was taken out: {why}", report.step));
        }
        let seen = Observation { state: self.manager.state(), host_loss: report.loss, seeds: report.seeds.as_slice() };
        for order in self.policy.orders(&seen) {
            match self.manager.order(order.clone()) {
                Ok(_) => self.postponed = None,
                // A gate that postpones is asked again after the next step.
                Err(Refusal::Decided(engine::Refusal::Postponed(verdict))) => self.postponed = Some(verdict.reason),
                Err(refusal) => progress.print(format_args!("  step {:>6}  {}: {refusal}", report.step, order.name())),
            }
        }
    }

    /// Records why the seed that was chosen last was taken out, if it was.
    fn take_ends(&mut self) -> Option<(String, String)> {
        let ends = std::mem::take(&mut *self.ends.0.lock().unwrap_or_else(PoisonError::into_inner));
        let chosen = self.policy.history.last_mut().filter(|chosen| chosen.fossilised.is_none())?;
        let fossils = &self.manager.state().run.fossils;
        let is_gone =
            |end: &FieldReport| end.seed_id == chosen.seed && !fossils.iter().any(|it| it.as_str() == chosen.seed);
        let end = ends.into_iter().find(is_gone)?;
        let waited = self.postponed.take().map(|reason| format!(", after a gate had waited for {reason}"));
        let why = end.notes + &waited.unwrap_or_default();
        chosen.culled = Some(why.clone());
        Some((chosen.seed.clone(), why))
    }

    /// What became of the seeds that were chosen.
    pub(super) fn finish(mut self) -> Vec<Grown> {
        self.manager.flush_telemetry();
        self.take_ends();
        let seen = Observation { state: self.manager.state(), host_loss: f32::NAN, seeds: &[] };
        // It is told how its last seed ended; it is too late for orders.
        drop(self.policy.orders(&seen));
        self.policy.history
    }
}

fn settings(recipe: &Recipe) -> Settings {
    let mut settings = Settings::default();
    settings.training.learning_rate = recipe.learning_rate;
    settings.gates.system_impact.min_probes_fossilize = recipe.growth.probes;
    settings.training.probe_every = 1;
    settings.training.sample_every = 2;
    settings.kernels.wait_ms = NO_HURRY;
    settings.kernels.timeout_ms = NO_HURRY;
    settings.gates.stability.max_blend_ms = NO_HURRY;
    settings.gates.stability.max_isolation_ms = NO_HURRY;
    settings
}
