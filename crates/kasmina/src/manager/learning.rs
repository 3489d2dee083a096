//! What a step does between its passes and its end: numbers are read, seeds learn, the engine judges, and the policy gives its orders.

use std::collections::BTreeMap;

use burn::{optim::GradientsParams, tensor::Tensor};
use kasmina_blending::{BlendBackend, GraftBackend, sample};
use kasmina_engine::{
    Event, Input, Observation, Seed,
    input::{Learned, SeedStep, StepFacts},
    seed::Turn,
};
use kasmina_isolation::{RngStream, gradient_squares};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::SeedId;

use super::{
    SeedManager,
    door::Batch,
    samples::{Numbers, Samples},
};
use crate::{
    error::{CheckpointError, StepError},
    events,
    report::StepReport,
};

impl<B: GraftBackend> SeedManager<B> {
    /// What could not be made durable is tried again in the next step.
    pub(super) fn tolerate<T: Default>(&mut self, outcome: Result<T, CheckpointError>) -> T {
        outcome.unwrap_or_else(|error| {
            self.emit_failure(&error);
            T::default()
        })
    }

    /// Whether gradient norms are read from the device in this step, and blends are timed on a device that queues: every so many, and
    /// once for every new seed.
    pub(super) fn samples(&self, step: u64) -> bool {
        let is_untimed = |seed: &Seed| {
            let is_live = <B as BlendBackend>::is_queued() && seed.stage.is_live();
            seed.stage.graft().is_some_and(|graft| is_live && graft.vitals.blend_latency.is_empty())
        };
        let unknown = |seed: &Seed| {
            let learns = matches!(seed.stage.turn(), Turn::Rides | Turn::Learns);
            let graft = seed.stage.graft().filter(|_| learns);
            graft.is_some_and(|graft| graft.idle.is_none() && graft.vitals.gradient_norm.is_none())
        };
        step.is_multiple_of(self.settings.training.sample_every)
            || self.state().seeds.values().any(|seed| unknown(seed) || is_untimed(seed))
    }

    /// Gradient norms and blends in numbers, with one read from the device.
    pub(super) fn sample(
        &self,
        model: Option<Tensor<B::InnerBackend, 1>>,
        kernels: &BTreeMap<SeedId, GradientsParams>,
        logits: Option<&Tensor<B, 2>>,
    ) -> Numbers {
        let mut samples = Samples::<B>::new();
        samples.host(model);
        for (seed, gradients) in kernels {
            let squares = |kernel: &KernelModule<B>| gradient_squares(kernel, gradients);
            samples.kernel(seed, self.tensors.kernel_ref(seed).and_then(squares));
        }
        for seed in self.state().seeds.values().filter(|seed| seed.stage.is_live()) {
            let Some((blend, alpha)) = seed.stage.blend().zip(seed.stage.alpha()) else { continue };
            // Without logits there is nothing to say; that the blend cannot work is a fault of its pass.
            if let Ok(sampled) = sample(blend, alpha, logits.cloned()) {
                samples.blend(&seed.id, blend, sampled);
            }
        }
        samples.read()
    }

    /// The optimizer steps of kernels. A seed that was culled in this step has none.
    pub(super) fn learn(
        &mut self,
        gradients: BTreeMap<SeedId, GradientsParams>,
        numbers: &Numbers,
    ) -> BTreeMap<SeedId, Learned> {
        let training = &self.settings.training;
        let mut learned = BTreeMap::new();
        for (id, gradients) in gradients {
            let Some(seed) = self.engine.state().seeds.get(&id) else { continue };
            let Some(graft) = seed.stage.graft() else { continue };
            let share = if seed.stage.turn() == Turn::Rides { training.straight_through_scale } else { 1.0 };
            let learning_rate = training.learning_rate * (self.rate_scale * graft.lr_scale * share);
            self.tensors.learn(&id, learning_rate, gradients);
            let gradient_norm = numbers.kernels.get(&id).copied();
            learned.insert(id, Learned { learning_rate, gradient_norm });
        }
        learned
    }

    /// The step is taken, of so many runs.
    pub(super) fn take_step(
        &mut self,
        learned: BTreeMap<SeedId, Learned>,
        host_gradient_norm: Option<f32>,
        runs: u64,
        report: &mut StepReport,
    ) {
        let facts = StepFacts {
            host_loss: report.loss,
            host_gradient_norm,
            // G2's budget is that of one run.
            verify_latency: report.timing.verify.div_f64(runs.max(1) as f64),
            clean: if self.group.is_alone() { report.violations.is_empty() } else { !self.group.violated },
            learned,
        };
        let events = self.act(Input::StepTaken(facts));
        report.seeds.extend(steps_of(events));
    }

    /// Lets the policy give its orders, each durable on its own.
    pub(super) fn follow_policy(&mut self, report: &StepReport) {
        let state = self.engine.state();
        let orders = self.policy.orders(&Observation { state, host_loss: report.loss, seeds: &report.seeds });
        for order in orders {
            let mut batch = Batch::default();
            // A refusal is an answer to the policy, which looks again after the next step. Verdicts and culls are in the batch.
            let _ = self.decide_order(order, &mut batch);
            let _ = self.conclude(batch);
        }
    }

    pub(super) fn report(&mut self, report: &StepReport) {
        let state = self.engine.state();
        let place = self.group.place();
        self.reporter.write(|to| {
            events::stepped(to, report, state);
            if !place.is_alone() {
                events::worked(to, place, report.timing.exchange);
            }
        });
    }

    /// The step, or a run of it, counts for nothing.
    pub(super) fn refuse_run(&mut self, error: StepError) -> StepError {
        self.write_owed();
        self.refused_steps += 1;
        self.rng_after_refusal().start(RngStream::Trainer);
        self.refuse_step(error)
    }

    pub(super) fn refuse_step(&mut self, error: StepError) -> StepError {
        self.reporter.emit(None, events::step_refused(&error));
        self.flush_telemetry();
        error
    }
}

pub(super) fn steps_of(events: Vec<Event>) -> impl Iterator<Item = SeedStep> {
    events.into_iter().filter_map(|event| match event {
        Event::SeedStepped(step) => Some(step),
        Event::Moved(_)
        | Event::Judged(_)
        | Event::Postponed(_)
        | Event::Leaving { .. }
        | Event::Idle { .. }
        | Event::Probed { .. }
        | Event::Interacted { .. }
        | Event::HuntBegan { .. }
        | Event::HuntEnded { .. }
        | Event::Culled { .. }
        | Event::LifeEnded(_)
        | Event::EmbargoEnded(_)
        | Event::BlendConfigured { .. }
        | Event::Paused(_)
        | Event::Resumed(_)
        | Event::Breaker(..)
        | Event::Violated { .. }
        | Event::Faulted(_)
        | Event::EvidenceReset { .. }
        | Event::ConservationBegan(_)
        | Event::ConservationEnded(_)
        | Event::SeedRolledBack { .. } => None,
    })
}
