//! One training step: the passes, the optimizers, and what follows from them.

use std::collections::BTreeMap;

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, Optimizer},
    tensor::Tensor,
};
use kasmina_blending::GraftBackend;
use kasmina_engine::{
    Event, Input, Observation,
    input::{Learned, SeedStep, StepFacts},
    seed::Turn,
};
use kasmina_isolation::{Grafts, HostPass, RngStream, gradient_norm};
use kasmina_leyline::SeedId;
use kasmina_telemetry::{Metric, names};

use super::door::Batch;
use crate::{error::StepError, events, manager::SeedManager, report::StepReport};

impl<B: GraftBackend> SeedManager<B> {
    /// Trains the host on a batch, and with it every seed that learns.
    ///
    /// `forward` runs a host with grafts on the batch and gives the loss, one number. It is called once for the host, once for all
    /// seeds that learn behind the barrier (BLENDING), and now and then to measure what a seed changes; it must do the same each
    /// time. The host steps by `optimizer` at `learning_rate`, each seed by an optimizer of its own at a rate of its own
    /// (`training.optimizer`, `training.learning_rate`). If a seed's gradient and the host's touch, the host's step is as if the seed
    /// had not been there.
    ///
    /// Between its passes it seeds the backend's random numbers (`training.reseed`), and once more at its end, so that what the
    /// trainer draws before the next batch does not depend on the seeds.
    ///
    /// # Errors
    /// [`StepError`]; the host and its optimizer are as they were.
    pub fn train_batch<H, O>(
        &mut self,
        host: &mut H,
        optimizer: &mut O,
        learning_rate: f64,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<StepReport, StepError>
    where
        H: AutodiffModule<B>,
        O: Optimizer<H, B>,
    {
        if let Some(epoch) = self.state().run.rollback {
            return Err(self.refuse_step(StepError::RollbackPending { epoch }));
        }
        self.begin_rng(host);
        self.act(Input::Tick);
        let mut report = StepReport { step: self.step() + 1, ..StepReport::default() };
        // Running statistics move in the pass itself: a step that is not taken must not leave them moved.
        let before = H::from_inner(host.valid());
        let pass = match self.host_pass(host, &forward, &mut report) {
            Ok(pass) => pass,
            Err(error) => {
                *host = before;
                self.write_owed();
                self.rng().start(RngStream::Trainer);
                return Err(self.refuse_step(error));
            }
        };
        let sampled = self.samples(report.step);
        let host_gradient_norm = sampled.then(|| gradient_norm::<B, _>(host, &pass.gradients));
        let learned = self.seeds_pass(host, &forward, &pass, &mut report);

        let started = self.clock.monotonic();
        let HostPass { gradients, kernels, .. } = pass;
        *host = optimizer.step(learning_rate, host.clone(), gradients);
        let learned = self.learn(kernels.into_iter().chain(learned), sampled);
        report.timing.optimizer = self.clock.monotonic().since(started);

        self.take_step(learned, host_gradient_norm, &mut report);
        if self.ask_again {
            // What the disk refuses is asked for again in the next step.
            let _ = self.fetch_awaited();
        }
        self.follow_policy(&report);
        self.write_committed(self.step().is_multiple_of(self.settings.rollback.checkpoint_every));
        report.transitions = self.take_moved();
        self.report(&report);
        self.flush_telemetry();
        self.rng().start(RngStream::Trainer);
        Ok(report)
    }

    /// Whether gradient norms are read from the device in this step: every so many, and once for every new seed.
    fn samples(&self, step: u64) -> bool {
        let unknown = |turn: Turn, norm: Option<f32>| matches!(turn, Turn::Rides | Turn::Learns) && norm.is_none();
        step.is_multiple_of(self.settings.training.sample_every)
            || self.state().seeds.values().any(|seed| {
                let graft = seed.stage.graft();
                graft.is_some_and(|graft| unknown(seed.stage.turn(), graft.vitals.gradient_norm))
            })
    }

    /// The optimizer steps of kernels. A seed that was culled in this step has none.
    fn learn(
        &mut self,
        gradients: impl Iterator<Item = (SeedId, GradientsParams)>,
        sampled: bool,
    ) -> BTreeMap<SeedId, Learned> {
        let training = &self.settings.training;
        let mut learned = BTreeMap::new();
        for (id, gradients) in gradients {
            let Some(seed) = self.engine.state().seeds.get(&id) else { continue };
            let Some(graft) = seed.stage.graft() else { continue };
            let share = if seed.stage.turn() == Turn::Rides { training.straight_through_scale } else { 1.0 };
            let learning_rate = training.learning_rate * (self.rate_scale * graft.lr_scale * share);
            let gradient_norm = self.tensors.learn(&id, learning_rate, gradients, sampled);
            learned.insert(id, Learned { learning_rate, gradient_norm });
        }
        learned
    }

    /// The step is taken.
    fn take_step(
        &mut self,
        learned: BTreeMap<SeedId, Learned>,
        host_gradient_norm: Option<f32>,
        report: &mut StepReport,
    ) {
        let facts = StepFacts {
            host_loss: report.loss,
            host_gradient_norm,
            verify_latency: report.timing.verify,
            clean: report.violations.is_empty(),
            learned,
        };
        let events = self.act(Input::StepTaken(facts));
        report.seeds.extend(steps_of(events));
    }

    /// Lets the policy give its orders, each durable on its own.
    fn follow_policy(&mut self, report: &StepReport) {
        let state = self.engine.state();
        let orders = self.policy.orders(&Observation { state, host_loss: report.loss, seeds: &report.seeds });
        for order in orders {
            let mut batch = Batch::default();
            // A refusal is an answer to the policy, which looks again after the next step. Verdicts and culls are in the batch.
            let _ = self.decide_order(order, &mut batch);
            let _ = self.conclude(batch);
        }
    }

    fn report(&mut self, report: &StepReport) {
        let (gauges, state) = (self.verifier.gauges(), self.engine.state());
        self.reporter.write(|to| {
            events::stepped(to, report, state);
            for (name, value) in [
                (names::NONCE_LEDGER_SIZE, gauges.size as f64),
                (names::NONCE_LEDGER_EVICTIONS, gauges.evictions_total as f64),
                (names::NONCE_LEDGER_TTL, gauges.ttl.as_secs_f64()),
            ] {
                to.metric(None, Metric::new(name, value));
            }
        });
    }

    fn refuse_step(&mut self, error: StepError) -> StepError {
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
        | Event::EmbargoEnded(_)
        | Event::BlendConfigured { .. }
        | Event::Paused(_)
        | Event::Resumed(_)
        | Event::Breaker(..)
        | Event::Violated { .. }
        | Event::Faulted(_)
        | Event::SeedRolledBack { .. } => None,
    })
}
