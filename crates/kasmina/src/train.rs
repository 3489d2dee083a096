//! One training step: the host's pass, a pass for each seed that learns on its own, the checks, the optimizer steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::{
    module::{AutodiffModule, ParamId},
    optim::{GradientsParams, Optimizer},
    tensor::Tensor,
};
use kasmina_blending::AlphaSchedule;
use kasmina_isolation::{GradientLedger, Pass, View, Violation, cosine_similarity, frozen_twin, gradient_norm};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{
        self, SeedStageBlending, SeedStageFossilized, SeedStageProbationary, SeedStageShadowing, SeedStageTraining,
    },
};
use kasmina_lifecycle::Transition;
use kasmina_registry::{Owner, UpdateRefusal, parameter_ids};
use kasmina_telemetry::{Metric, names};

use crate::{Advance, Fault, GraftBackend, Grafts, Refusal, SeedManager, StepError, draws::Draws, reuse::Activations};

/// What a training step did.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// The number of the step, from 1.
    pub step: u64,
    /// The host's own loss on the batch.
    pub loss: f32,
    /// The seeds that took part.
    pub seeds: Vec<SeedStep>,
    /// The stages that were left and entered in the step.
    pub transitions: Vec<Transition>,
    /// Gradients found where they must not be. The updates they came with were discarded.
    pub violations: Vec<Violation>,
    /// Where the time went.
    pub timing: StepTiming,
}

/// A seed's part in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedStep {
    /// Which seed.
    pub seed: SeedId,
    /// In which stage.
    pub stage: SeedLifecycleStage,
    /// The loss of the pass it took part in.
    pub loss: f32,
    /// Its alpha.
    pub alpha: f32,
    /// The norm of its gradient, where it was sampled.
    pub gradient_norm: Option<f32>,
}

/// Where the time of a step went, by the manager's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTiming {
    /// The host's forward and backward pass.
    pub host: Duration,
    /// The passes of seeds.
    pub seeds: Duration,
    /// The isolation and registry checks.
    pub verify: Duration,
    /// The optimizer steps.
    pub optimizer: Duration,
}

/// What the host's pass left behind.
struct HostPass<B: GraftBackend> {
    loss: f32,
    gradients: GradientsParams,
    /// Of riders and fossils.
    kernels: Vec<(SeedId, GradientsParams)>,
    logits: Option<Tensor<B, 2>>,
    activations: Activations<B>,
}

/// Gradients by module, or the seeds that must not have been in the pass.
type Divided = Result<(GradientsParams, Vec<(SeedId, GradientsParams)>), Vec<Offence>>;

/// A seed and the parameters that it shares with somebody.
type Offence = (SeedId, BTreeSet<ParamId>);

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
        self.do_what_is_due();
        let mut report = StepReport { step: self.step + 1, ..StepReport::default() };
        // Running statistics move in the pass itself: a step that is not taken must not leave them moved.
        let before = H::from_inner(host.valid());
        let pass = match self.host_pass(host, &forward, &mut report) {
            Ok(pass) => pass,
            Err(error) => {
                *host = before;
                self.reporter.step_refused(&error);
                self.reseed(Draws::Trainer);
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
        report.transitions = self.take_moved();
        self.tell(&report);
        self.flush_telemetry();
        self.reseed(Draws::Trainer);
        Ok(report)
    }

    /// The host's pass. A pass that a seed has spoilt is done again without it, on a copy of the host, so that running
    /// statistics move once.
    fn host_pass<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        report: &mut StepReport,
    ) -> Result<HostPass<B>, StepError> {
        let started = self.clock.monotonic();
        self.reseed(Draws::Host);
        let mut grafts = self.host_view();
        grafts.keep_activations();
        let loss = forward(host, &mut grafts);
        let value = number(&loss);
        if loss.dims() != [1] {
            return Err(StepError::LossShape { got: loss.dims().to_vec() });
        }
        if !value.is_finite() {
            return Err(StepError::NonFiniteLoss { loss: value, step: report.step });
        }
        let mut ledger = GradientLedger::new(loss.backward());
        let passed = self.clock.monotonic();
        report.timing.host = passed.since(started);

        for fault in grafts.take_faults() {
            self.faulted(&fault);
            if self.stage(&fault.seed) == Some(SeedStageFossilized) {
                return Err(StepError::Fossil(Box::new(fault)));
            }
        }
        let (logits, activations) = (grafts.logits().cloned(), grafts.take_activations());
        self.remember_shapes(grafts);
        self.check_host(host, &ledger)?;
        let divided = self.divide(host, &mut ledger, &[]);
        report.timing.verify += self.clock.monotonic().since(passed);
        let (gradients, kernels) = match divided {
            Ok(divided) => divided,
            Err(offences) => self.host_pass_again(host, forward, offences, report),
        };
        Ok(HostPass { loss: value, gradients, kernels, logits, activations })
    }

    fn host_pass_again<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        mut offences: Vec<Offence>,
        report: &mut StepReport,
    ) -> (GradientsParams, Vec<(SeedId, GradientsParams)>) {
        let twin = || H::from_inner(host.valid());
        self.reseed(Draws::Host);
        let spoilt_host = twin();
        let loss = forward(&spoilt_host, &mut self.host_view());
        let spoilt = GradientLedger::new(loss.backward()).take(&spoilt_host).unwrap_or_default();
        loop {
            let without: Vec<SeedId> = offences.iter().map(|(seed, _)| seed.clone()).collect();
            let clean_host = twin();
            self.reseed(Draws::Host);
            let loss = forward(&clean_host, &mut self.host_view_without(&without));
            let mut ledger = GradientLedger::new(loss.backward());
            match self.divide(&clean_host, &mut ledger, &without) {
                // Every round leaves at least one seed out, so there is a last one.
                Err(more) => offences.extend(more),
                Ok((gradients, kernels)) => {
                    for (seed, shared) in offences {
                        let cosine = cosine_similarity::<B, _>(host, &gradients, &spoilt, &shared);
                        self.violated(Violation { seed, pass: Pass::Host, shared, cosine }, report);
                    }
                    return (gradients, kernels);
                }
            }
        }
    }

    /// Hands the gradients of the host's pass out to whom they belong, if they can be told apart.
    fn divide<H: AutodiffModule<B>>(&self, host: &H, ledger: &mut GradientLedger<B>, without: &[SeedId]) -> Divided {
        let in_pass = |id: &&SeedId| {
            !without.contains(id) && self.seeds.get(*id).is_some_and(|seed| self.part(seed, &View::Host).is_some())
        };
        let in_pass: Vec<&SeedId> = self.seeds.keys().filter(in_pass).collect();
        let kernels = in_pass.iter().filter_map(|id| Some((*id, &self.attached(id)?.kernel)));
        let kernels: Vec<_> = kernels.map(|(id, kernel)| (id, kernel, ledger.present(kernel))).collect();
        let (mut divided, mut offences) = (Vec::new(), Vec::new());
        for (id, kernel, present) in kernels {
            let missing: BTreeSet<_> = present.difference(&ledger.present(kernel)).copied().collect();
            let allowed = self.registry.validate_update(&Owner::Seed(id.clone()), present.iter().copied());
            match ledger.take_apart_from(kernel, host) {
                Err(shared) => offences.push((id.clone(), shared)),
                Ok(_) if !missing.is_empty() => offences.push((id.clone(), missing)),
                Ok(gradients) => match allowed {
                    Err(refusal) => offences.push((id.clone(), BTreeSet::from([refusal.parameter()]))),
                    Ok(()) => divided.push((id.clone(), gradients)),
                },
            }
        }
        match ledger.take(host) {
            Ok(gradients) if offences.is_empty() => Ok((gradients, divided)),
            Ok(_) => Err(offences),
            // A kernel has taken by id what is the host's, and there is no telling which.
            Err(shared) => Err(in_pass.into_iter().map(|id| (id.clone(), shared.clone())).collect()),
        }
    }

    /// Whether the host's gradients are the host's to apply. A host that has grown new parameters is registered anew.
    fn check_host<H: AutodiffModule<B>>(&mut self, host: &H, ledger: &GradientLedger<B>) -> Result<(), StepError> {
        let present = ledger.present(host);
        let allowed = self.registry.validate_update(&Owner::Host, present.iter().copied());
        if let Err(UpdateRefusal::Unregistered { .. }) = allowed {
            self.registry.register_host(parameter_ids(host))?;
            return Ok(self.registry.validate_update(&Owner::Host, present)?);
        }
        Ok(allowed?)
    }

    /// The passes of seeds that learn on their own, and the probes that are due.
    fn seed_passes<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) -> Vec<(SeedId, GradientsParams)> {
        let mut learned = Vec::new();
        for id in self.advance_alphas() {
            learned.extend(self.seed_pass(&id, host, forward, pass, report));
        }
        if report.step.is_multiple_of(self.settings.training.probe_every) {
            for id in self.seeds_under_probe() {
                self.probe(&id, host, forward, pass, report);
            }
        }
        learned
    }

    /// The seeds that learn on their own in this step, alpha advanced.
    fn advance_alphas(&mut self) -> Vec<SeedId> {
        let mut learning = Vec::new();
        for (id, seed) in &mut self.seeds {
            let stage = seed.lifecycle.stage();
            let Some(attached) = seed.attached.as_mut().filter(|attached| !attached.paused) else { continue };
            if stage == SeedStageBlending {
                attached.advance_alpha();
                learning.push(id.clone());
            } else if stage == SeedStageProbationary && attached.fine_tune > 0 {
                learning.push(id.clone());
            }
        }
        learning
    }

    fn seeds_under_probe(&self) -> Vec<SeedId> {
        let probed = |seed: &&crate::seed::Seed<B>| {
            matches!(seed.stage(), SeedStageShadowing | SeedStageProbationary)
                && seed.attached.as_ref().is_some_and(|attached| !attached.paused && attached.fine_tune == 0)
        };
        self.seeds.values().filter(probed).map(|seed| seed.id.clone()).collect()
    }

    fn seed_pass<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) -> Option<(SeedId, GradientsParams)> {
        let started = self.clock.monotonic();
        let loss = self.forward_seed(id, host, forward, pass)?;
        let value = number(&loss);
        let finite = value.is_finite();
        let mut ledger = finite.then(|| GradientLedger::<B>::new(loss.backward()));
        let passed = self.clock.monotonic();
        report.timing.seeds += passed.since(started);

        let verified = ledger.as_mut().map(|ledger| self.verify_seed_pass(id, host, ledger, &pass.gradients));
        let verify = self.clock.monotonic().since(passed);
        report.timing.verify += verify;
        let attached = self.attached_mut(id)?;
        attached.vitals.record_loss(value);
        attached.vitals.verify_latency.record(verify);
        attached.fine_tune = attached.fine_tune.saturating_sub(1);
        self.report_seed(id, value, report);
        if !finite && self.stage(id) == Some(SeedStageProbationary) {
            // In BLENDING, G2 sees to it.
            let _ = self.cull(id, "loss_not_finite");
        }
        match verified? {
            Ok(gradients) => Some((id.clone(), gradients)),
            Err(violation) => {
                self.violated(violation, report);
                None
            }
        }
    }

    /// The seed's gradients, if nobody else got one.
    fn verify_seed_pass<H: AutodiffModule<B>>(
        &self,
        id: &SeedId,
        host: &H,
        ledger: &mut GradientLedger<B>,
        host_gradients: &GradientsParams,
    ) -> Result<GradientsParams, Violation> {
        let violation = |shared, cosine| Violation { seed: id.clone(), pass: Pass::Seed, shared, cosine };
        let reached = ledger.present(host);
        if !reached.is_empty() {
            let there = ledger.take(host).unwrap_or_default();
            let cosine = cosine_similarity::<B, _>(host, host_gradients, &there, &reached);
            return Err(violation(reached, cosine));
        }
        let others = self.seeds.values().filter(|seed| seed.id != *id).filter_map(|seed| seed.attached.as_ref());
        let reached: BTreeSet<_> = others.flat_map(|other| ledger.present(&other.kernel)).collect();
        if !reached.is_empty() {
            return Err(violation(reached, None));
        }
        let Some(attached) = self.attached(id) else { return Err(violation(BTreeSet::new(), None)) };
        let present = ledger.present(&attached.kernel);
        let allowed = self.registry.validate_update(&Owner::Seed(id.clone()), present);
        allowed.map_err(|refusal| violation(BTreeSet::from([refusal.parameter()]), None))?;
        ledger.take(&attached.kernel).map_err(|shared| violation(shared, None))
    }

    fn probe<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) {
        let started = self.clock.monotonic();
        let Some(loss) = self.forward_seed(id, host, forward, pass) else { return };
        let value = number(&loss);
        report.timing.seeds += self.clock.monotonic().since(started);
        if let Some(attached) = self.attached_mut(id) {
            attached.vitals.probe.record(pass.loss, value);
        }
        self.report_seed(id, value, report);
    }

    /// The loss of the seed's view; `None` where the kernel could not do its part, for which the seed is culled.
    fn forward_seed<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
    ) -> Option<Tensor<B, 1>> {
        self.reseed(Draws::Seeds);
        let mut grafts = self.seed_view(id);
        grafts.reuse(pass.activations.clone());
        if let Some(logits) = &pass.logits {
            grafts.offer_logits(logits.clone());
        }
        let loss = forward(&frozen_twin(host), &mut grafts);
        let blend_time = grafts.blend_time();
        let mut faults = grafts.take_faults();
        let slot = self.seeds.get(id)?.slot.clone();
        if !grafts.into_shapes().contains_key(&slot) {
            let detail = "the host's forward does not call its slot".to_owned();
            faults.push(Fault { seed: id.clone(), slot, reason: "slot_not_reached", detail });
        }
        self.attached_mut(id)?.vitals.blend_latency.record(blend_time);
        let failed = faults.iter().any(|fault| fault.seed == *id);
        for fault in faults {
            self.faulted(&fault);
        }
        (!failed).then_some(loss)
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
            self.start_grafting(id, self.settings.blending.mode(), schedule)
        } else if stage == SeedStageBlending && complete {
            self.stabilize(id)
        } else if stage == SeedStageShadowing && steps >= shadowing_steps {
            self.evaluate(id)
        } else if stage == SeedStageProbationary && steps >= probationary_steps {
            self.fossilize(id)
        } else {
            Ok(())
        }
    }

    fn violated(&mut self, violation: Violation, report: &mut StepReport) {
        let seed = violation.seed.clone();
        self.reporter.violation(&violation);
        let count = self.violations.count(&seed) + 1;
        self.reporter.metric(Some(&seed), Metric::new(names::ISOLATION_VIOLATIONS, count as f64));
        if let Some(event) = self.breakers.isolation.record_failure(self.clock.monotonic()) {
            self.reporter.breaker("isolation", event);
        }
        if self.violations.record(&seed) {
            let _ = self.cull(&seed, "isolation_violations");
        }
        report.violations.push(violation);
    }

    /// A kernel that does not run is taken out, unless it is a fossil: then the step is refused.
    fn faulted(&mut self, fault: &Fault) {
        self.reporter.fault(fault);
        let _ = self.cull(&fault.seed, fault.reason);
    }

    fn report_seed(&self, id: &SeedId, loss: f32, report: &mut StepReport) {
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

/// The loss as a number; NaN for a tensor without any.
fn number<B: GraftBackend>(loss: &Tensor<B, 1>) -> f32 {
    loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN)
}
