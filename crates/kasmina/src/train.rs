//! One training step, from the host's pass to what follows from it.

use std::{collections::BTreeMap, time::Duration};

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, Optimizer},
    tensor::Tensor,
};
use kasmina_blending::AlphaSchedule;
use kasmina_isolation::{Fault, Grafts, RngStream, Violation, gradient_norm};
use kasmina_leyline::{
    SeedId,
    v1::{
        CircuitBreakerState::CircuitStateOpen,
        SeedLifecycleStage::{
            SeedStageBlending, SeedStageFossilized, SeedStageProbationary, SeedStageShadowing, SeedStageTraining,
        },
    },
};
use kasmina_telemetry::{Metric, names};

use crate::{Advance, GraftBackend, Refusal, SeedManager, SeedStep, StepError, StepReport};

impl<B: GraftBackend> SeedManager<B> {
    /// Trains the host on a batch, and with it every seed that learns.
    ///
    /// `forward` runs a host with grafts on the batch and gives the loss, one number. It is called once for the host, once for
    /// every seed that learns behind the barrier (BLENDING), and now and then for those under probe; it must do the same
    /// each time. The host steps by `optimizer` at `learning_rate`, each seed by an AdamW of its own at that rate times its
    /// scale. Where a seed's gradient and the host's touch, the host's step is as if the seed had not been there.
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
        if let Some(epoch) = self.commanded {
            let error = StepError::RollbackPending { epoch };
            self.reporter.step_refused(&error);
            self.flush_telemetry();
            return Err(error);
        }
        self.do_what_is_due();
        let mut report = StepReport { step: self.step + 1, ..StepReport::default() };
        // Running statistics move in the pass itself: a step that is not taken must not leave them moved.
        let before = H::from_inner(host.valid());
        let pass = match self.host_pass(host, &forward, &mut report) {
            Ok(pass) => pass,
            Err(error) => {
                *host = before;
                self.reporter.step_refused(&error);
                self.commit_or_tell(false);
                self.rng().start(RngStream::Trainer);
                self.flush_telemetry();
                return Err(error);
            }
        };
        report.loss = pass.loss;
        let learned = self.seed_passes(host, &forward, &pass, &mut report);

        let started = self.clock.monotonic();
        *host = optimizer.step(learning_rate, host.clone(), pass.gradients);
        for (seed, gradients) in pass.kernels.into_iter().chain(learned) {
            self.learn(&seed, learning_rate, gradients);
        }
        report.timing.optimizer = self.clock.monotonic().since(started);

        self.step += 1;
        self.settle(&mut report);
        self.commit_or_tell(self.step.is_multiple_of(self.settings.rollback.checkpoint_every));
        report.transitions = self.take_moved();
        self.tell(&report);
        self.flush_telemetry();
        self.rng().start(RngStream::Trainer);
        Ok(report)
    }

    fn learn(&mut self, id: &SeedId, learning_rate: f64, gradients: GradientsParams) {
        let sampled = (self.step + 1).is_multiple_of(self.settings.training.sample_every);
        let training = &self.settings.training;
        let own = self.registry.learning_rate_scale(id).unwrap_or(1.0);
        let riding = self.stage(id) == Some(SeedStageTraining);
        let share = if riding { training.straight_through_scale } else { 1.0 };
        let scale = training.learning_rate_scale * own * share;
        let Some(attached) = self.attached_mut(id) else { return };
        if sampled || attached.vitals.gradient_norm.is_none() {
            attached.vitals.gradient_norm = Some(gradient_norm::<B, _>(&attached.kernel, &gradients));
        }
        attached.learn(learning_rate * scale, gradients);
    }

    /// What follows from the step: riders' losses, G2 for those in BLENDING, and the moves that are due by policy.
    fn settle(&mut self, report: &mut StepReport) {
        let ids: Vec<SeedId> = self.seeds.keys().cloned().collect();
        let (loss, verify) = (report.loss, report.timing.verify);
        let mut verified = false;
        for id in &ids {
            let Some(stage) = self.stage(id) else { continue };
            let Some(attached) = self.attached_mut(id).filter(|attached| !attached.paused) else { continue };
            attached.vitals.steps += 1;
            verified = true;
            if stage == SeedStageTraining || stage == SeedStageFossilized {
                attached.vitals.record_loss(loss);
                attached.vitals.verify_latency.record(verify);
                self.report_seed(id, loss, report);
            } else if stage == SeedStageBlending {
                // What a gate says has been reported, and what follows from it done.
                let _ = self.recheck_stability(id);
            }
            let _ = self.advance_automatically(id);
        }
        if verified && report.violations.is_empty() {
            let event = self.breakers.isolation.record_success(self.clock.monotonic());
            event.into_iter().for_each(|event| self.reporter.breaker("isolation", event));
        }
    }

    /// Puts a seed before the next gate when it has had its steps. What a gate says then has been reported and done.
    fn advance_automatically(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let Advance::Automatic { training_steps, shadowing_steps, probationary_steps } =
            self.settings.lifecycle.advance
        else {
            return Ok(());
        };
        // G2 may have culled it a moment ago.
        let (stage, attached) = (self.seed(id)?.stage(), self.grafted(id)?);
        let (steps, complete) = (attached.vitals.steps, attached.blending_complete());
        if stage == SeedStageTraining && steps >= training_steps {
            let total_steps = self.settings.blending.total_steps;
            let temperature = AlphaSchedule::DEFAULT_TEMPERATURE;
            let schedule = AlphaSchedule::Sigmoid { total_steps, temperature };
            let mode = self.settings.blending.mode();
            self.durably(|manager| manager.start_grafting(id, mode, schedule))
        } else if stage == SeedStageBlending && complete {
            self.durably(|manager| manager.stabilize(id))
        } else if stage == SeedStageShadowing && steps >= shadowing_steps {
            self.durably(|manager| manager.evaluate(id))
        } else if stage == SeedStageProbationary && steps >= probationary_steps {
            self.durably(|manager| manager.fossilize(id))
        } else {
            Ok(())
        }
    }

    pub(crate) fn violated(&mut self, violation: Violation, report: &mut StepReport) {
        let seed = violation.seed.clone();
        self.reporter.violation(&violation);
        let count = self.violations.count(&seed) + 1;
        self.reporter.metric(Some(&seed), Metric::new(names::ISOLATION_VIOLATIONS, count as f64));
        if let Some(event) = self.breakers.isolation.record_failure(self.clock.monotonic()) {
            self.reporter.breaker("isolation", event);
        }
        if self.violations.record(&seed) {
            let _ = self.cull(&seed, "isolation_violations");
            self.open_isolation_breaker();
        }
        report.violations.push(violation);
    }

    /// So many violations by one seed open the breaker, however many clean steps lay between them.
    fn open_isolation_breaker(&mut self) {
        let breaker = &mut self.breakers.isolation;
        if breaker.state() != CircuitStateOpen
            && let Ok(event) = breaker.force(CircuitStateOpen, self.clock.monotonic())
        {
            self.reporter.breaker("isolation", event);
        }
    }

    /// A kernel that does not run is taken out, unless it is a fossil: then the step is refused.
    pub(crate) fn faulted(&mut self, fault: &Fault) {
        self.reporter.fault(fault);
        let _ = self.cull(&fault.seed, fault.reason);
    }

    pub(crate) fn report_seed(&self, id: &SeedId, loss: f32, report: &mut StepReport) {
        let Some((stage, attached)) = self.stage(id).zip(self.attached(id)) else { return };
        let (alpha, gradient_norm) = (attached.alpha.get(), attached.vitals.gradient_norm);
        report.seeds.push(SeedStep { seed: id.clone(), stage, loss, alpha, gradient_norm });
    }

    fn tell(&mut self, report: &StepReport) {
        let gauges = self.verifier.gauges();
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        for (name, value) in [
            (names::HOST_LOSS, f64::from(report.loss)),
            (names::HOST_PASS_MS, milliseconds(report.timing.host)),
            (names::SEED_PASSES_MS, milliseconds(report.timing.seeds)),
            (names::ISOLATION_VERIFY_MS, milliseconds(report.timing.verify)),
            (names::NONCE_LEDGER_SIZE, gauges.size as f64),
            (names::NONCE_LEDGER_EVICTIONS, gauges.evictions_total as f64),
            (names::NONCE_LEDGER_TTL, gauges.ttl.as_secs_f64()),
        ] {
            self.reporter.metric(None, Metric::new(name, value));
        }
        let mut told: BTreeMap<&SeedId, &SeedStep> = BTreeMap::new();
        told.extend(report.seeds.iter().map(|seed| (&seed.seed, seed)));
        for (id, seed) in told {
            self.reporter.metric(Some(id), Metric::new(names::SEED_LOSS, seed.loss));
            self.reporter.metric(Some(id), Metric::new(names::SEED_ALPHA, seed.alpha));
            let learning_rate = self.attached(id).map(|attached| attached.vitals.learning_rate);
            for (name, value) in [
                (names::SEED_GRADIENT_NORM, seed.gradient_norm.map(f64::from)),
                (names::SEED_LEARNING_RATE, learning_rate),
            ] {
                value.into_iter().for_each(|value| self.reporter.metric(Some(id), Metric::new(name, value)));
            }
        }
    }
}
