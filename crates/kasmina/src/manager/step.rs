//! One training step: the passes, the optimizers, and what follows from them.

use std::collections::BTreeMap;

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, Optimizer},
    tensor::Tensor,
};
use kasmina_blending::{GraftBackend, sample};
use kasmina_engine::{
    Event, Input, Observation, Seed,
    input::{Learned, SeedStep, StepFacts},
    seed::Turn,
};
use kasmina_isolation::{Grafts, HostPass, RngStream, Statistics, gradient_squares};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::SeedId;

use super::{
    door::Batch,
    samples::{Numbers, Samples},
};
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
        let statistics = Statistics::of(host);
        let pass = match self.host_pass(host, &forward, &mut report) {
            Ok(pass) => pass,
            Err(error) => {
                statistics.restore(host);
                self.write_owed();
                self.refused_steps += 1;
                self.rng_after_refusal().start(RngStream::Trainer);
                return Err(self.refuse_step(error));
            }
        };
        let learned = self.seeds_pass(host, &forward, &pass, &mut report);
        let HostPass { gradients, kernels, trace, .. } = pass;
        let kernels: Vec<_> = kernels.into_iter().chain(learned).collect();
        let numbers = if self.samples(report.step) {
            let sampled = self.sample(gradient_squares(host, &gradients), &kernels, trace.logits.as_ref());
            // A host that is frozen has no gradient, which is a norm of 0 and not one that is still to be measured.
            Numbers { host: sampled.host.or(Some(0.0)), ..sampled }
        } else {
            Numbers::default()
        };

        let started = self.clock.monotonic();
        *host = optimizer.step(learning_rate, host.clone(), gradients);
        let learned = self.learn(kernels, &numbers);
        report.timing.optimizer = self.clock.monotonic().since(started);

        self.take_step(learned, numbers.host, &mut report);
        for (seed, blend, stats) in &numbers.blends {
            self.reporter.write(|to| events::blended(to, seed, blend, stats));
        }
        if self.ask_again {
            // What the disk refuses is asked for again in the next step.
            let _ = self.fetch_awaited();
        }
        self.follow_policy(&report);
        self.write_committed(self.step().is_multiple_of(self.settings.rollback.checkpoint_every));
        report.transitions = self.take_moved();
        self.report(&report);
        self.flush_telemetry();
        self.refused_steps = 0;
        self.rng().start(RngStream::Trainer);
        Ok(report)
    }

    /// Whether gradient norms are read from the device in this step: every so many, and once for every new seed.
    fn samples(&self, step: u64) -> bool {
        let unknown = |seed: &Seed| {
            let learns = matches!(seed.stage.turn(), Turn::Rides | Turn::Learns);
            let graft = seed.stage.graft().filter(|_| learns);
            graft.is_some_and(|graft| graft.idle.is_none() && graft.vitals.gradient_norm.is_none())
        };
        step.is_multiple_of(self.settings.training.sample_every) || self.state().seeds.values().any(unknown)
    }

    /// Gradient norms and blends in numbers, with one read from the device.
    fn sample(
        &self,
        host: Option<Tensor<B::InnerBackend, 1>>,
        kernels: &[(SeedId, GradientsParams)],
        logits: Option<&Tensor<B, 2>>,
    ) -> Numbers {
        let mut samples = Samples::<B>::new();
        samples.host(host);
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
    fn learn(&mut self, gradients: Vec<(SeedId, GradientsParams)>, numbers: &Numbers) -> BTreeMap<SeedId, Learned> {
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
        let state = self.engine.state();
        self.reporter.write(|to| events::stepped(to, report, state));
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
