//! The passes of a step, and the facts that they show.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::{optim::GradientsParams, tensor::Tensor};
use kasmina_blending::GraftBackend;
use kasmina_engine::{
    Event, Input, Measurement,
    input::{self, Fault, HostPassFacts, LearningFacts, ProbeFacts, Violation},
};
use kasmina_grown::{Grown, HostModule};
use kasmina_isolation::{
    self as isolation, Grafts, HostPass, HostPassError, Idle, LearningPass, Measured, Override, RngStream, StepRng,
    culprits, host_pass, learning_pass, measure, prove_pause,
};
use kasmina_leyline::SeedId;

use super::learning::steps_of;
use crate::{
    error::{ModelError, StepError},
    manager::SeedManager,
    report::StepReport,
    workers::Probing,
};

/// What a seed changes on one batch: two losses of the network, which differ in this seed alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probed {
    /// The loss without the seed.
    pub without: f32,
    /// The loss with it.
    pub with: f32,
}

/// A batch and the model that it is run on.
struct On<'a, B: GraftBackend, H: HostModule<B>, F> {
    model: &'a Grown<B, H>,
    forward: &'a F,
    pass: &'a HostPass<B>,
    /// The loss of the live view, if the learning pass has shown it.
    live: Option<f32>,
}

impl<B: GraftBackend> SeedManager<B> {
    /// The host's pass, and what follows from it for the seeds in it. A seed that has `learned` in an earlier run of the step is not idle.
    pub(super) fn host_pass<H: HostModule<B>>(
        &mut self,
        model: &Grown<B, H>,
        forward: &impl Fn(&Grown<B, H>, &mut Grafts<B>) -> Tensor<B, 1>,
        learned: &BTreeSet<SeedId>,
        report: &mut StepReport,
    ) -> Result<HostPass<B>, StepError> {
        let (seed, step) = (self.rng_seed_of_run(), self.engine.state().run.step);
        let (cast, registry, device) = self.tensors.for_pass(model.fossils(), self.engine.state(), &self.clock);
        let passed = host_pass(model, forward, &cast, registry, &StepRng::new(device, seed, step));
        let mut pass = match passed {
            Ok(pass) => pass,
            Err(HostPassError { cause, faults }) => {
                let facts = HostPassFacts { faults: faults.iter().map(fault).collect(), ..HostPassFacts::default() };
                let error = StepError::of(cause, report.step);
                if let Some(facts) = self.agree_on_refusal(facts, &error) {
                    self.act(Input::HostPassFailed(facts.faults));
                }
                return Err(error);
            }
        };
        report.timing.host += pass.pass_time;
        self.tensors.learn_slots(&pass.trace.shapes);
        let facts = HostPassFacts {
            faults: pass.trace.faults.iter().map(fault).collect(),
            violations: first_of_the_step(&pass.violations, report),
            idle: idle(&pass.idle, learned),
        };
        report.violations.extend(pass.violations.iter().cloned());
        let facts = self.agree_on_host_pass(&mut pass, facts)?;
        report.timing.verify += pass.verify_time;
        self.report_withheld(&pass.withheld, report);
        if self.state().holds_kernels() || !facts.faults.is_empty() {
            self.act(Input::HostPass(facts));
        }
        Ok(pass)
    }

    /// The pass in which seeds learn, and in the first run of a step the measurements that are due. Gives the gradients of those that
    /// learned.
    pub(super) fn seeds_pass<H: HostModule<B>>(
        &mut self,
        model: &Grown<B, H>,
        forward: &impl Fn(&Grown<B, H>, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        learned_before: &BTreeSet<SeedId>,
        first: bool,
        report: &mut StepReport,
    ) -> Result<Vec<(SeedId, GradientsParams)>, StepError> {
        let learned = learning_pass(model, forward, &self.cast(model), pass, self.tensors.registry(), &self.rng());
        let mut on = On { model, forward, pass, live: None };
        let (mut gradients, mut facts, mut left_out) = (Vec::new(), None, BTreeSet::new());
        if let Some(learned) = learned {
            report.timing.seeds += learned.pass_time;
            let violations = first_of_the_step(&learned.violations, report);
            report.violations.extend(learned.violations.clone());
            // With these, not all that live had a part in the loss.
            let whole = learned.culprits.is_empty() && learned.violations.is_empty() && learned.faults.is_empty();
            on.live = learned.loss.filter(|_| whole);
            let violating = learned.violations.iter().map(|violation| &violation.seed);
            let faulty = learned.faults.iter().map(|fault| &fault.seed);
            left_out = learned.culprits.iter().chain(violating).chain(faulty).cloned().collect();
            facts = Some(LearningFacts { violations, ..learning_facts(&learned, learned_before, first) });
            gradients = learned.gradients;
        }
        if let Some((facts, alike)) = self.agree_on_learning(facts, left_out)? {
            report.timing.verify += facts.verify_latency;
            let events = self.act(Input::LearningPass(facts));
            report.seeds.extend(steps_of(events));
            gradients.retain(|_| alike);
        }
        let due = self.state().measurements(report.step, self.engine.settings());
        for measurement in due.into_iter().filter(|_| first) {
            let started = self.clock.monotonic();
            match measurement {
                Measurement::Probe(seed) => {
                    let (probing, _) = self.probe(&seed, &on);
                    let probing = self.agree_on_probe(probing)?;
                    report.seeds.extend(steps_of(self.judge_probe(seed, probing)));
                }
                Measurement::Interaction(one, other) => {
                    let value = self.measure_interaction(&one, &other, &on);
                    if let Some(value) = self.agree_on_interaction(value)? {
                        self.act(Input::Interaction { seeds: (one, other), value });
                    }
                }
                Measurement::PauseProof(seed) => {
                    let proven = prove_pause(&seed, on.model, on.forward, &self.cast(on.model), on.pass, &self.rng());
                    if let Some(proven) = self.agree_on_pause(proven)? {
                        self.act(Input::PauseProof(seed, proven));
                    }
                }
            }
            report.timing.seeds += self.clock.monotonic().since(started);
        }
        Ok(gradients)
    }

    /// Measures what a seed changes on a batch, now: the loss of the network without it and with it (at alpha 1 in SHADOWING), on
    /// the same batch and the same draws. It counts as evidence like the probes that steps make by themselves, unless there are several
    /// workers: each has its own share of the batch, and this does not wait for the others. `forward` is that of
    /// [`train_batch`](Self::train_batch); it is run twice, on frozen copies, and the model is as it was.
    ///
    /// `None` if that says nothing of the seed: it is not blended in at this stage, or paused; the batch does not come to its slot; or both
    /// losses are not finite.
    ///
    /// # Errors
    /// [`ModelError`](crate::ModelError): the seeds do not grow on this model.
    pub fn run_probe<H: HostModule<B>>(
        &mut self,
        model: &Grown<B, H>,
        seed: &SeedId,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<Option<Probed>, ModelError> {
        self.check_model(model)?;
        let forward = |model: &Grown<B, H>, grafts: &mut Grafts<B>| forward(&model.host, grafts);
        let on = On { model, forward: &forward, pass: &HostPass::none(), live: None };
        let (probing, probed) = self.probe(seed, &on);
        if self.group.is_alone() {
            self.judge_probe(seed.clone(), probing);
        }
        self.rng().start(RngStream::Trainer);
        Ok(probed)
    }

    /// The losses without a seed and with it, on the same batch and the same draws; all others are in both.
    fn probe<H, F>(&self, id: &SeedId, on: &On<'_, B, H, F>) -> (Probing, Option<Probed>)
    where
        H: HostModule<B>,
        F: Fn(&Grown<B, H>, &mut Grafts<B>) -> Tensor<B, 1>,
    {
        let nothing = (Probing::Nothing, None);
        let Some(seed) = self.state().seeds.get(id) else { return nothing };
        let (Some(alpha), lives) = (seed.stage.alpha(), seed.stage.is_live()) else { return nothing };
        let blended = seed.stage.blend().is_some() && seed.stage.graft().is_none_or(|graft| !graft.paused);
        if !blended {
            return nothing;
        }
        // A pass that was not run does not say which slots the batch comes to.
        let (slot, seen) = (seed.slot.clone(), &on.pass.trace);
        if !(seen.reached(&slot) || seen.order.is_empty()) {
            // The batch says nothing of the seed.
            return nothing;
        }
        let (in_it, out_of_it) = (Override { seed: id, alpha: Some(alpha) }, Override { seed: id, alpha: None });
        // The learning pass of this step was one of the two.
        let with = on.live.filter(|_| lives).map_or_else(|| self.measure_on(on, &[in_it]), known);
        let without = on.live.filter(|_| !lives).map_or_else(|| self.measure_on(on, &[out_of_it]), known);
        let broken = |measured: &Measured| measured.loss.is_some_and(|loss| !loss.is_finite());
        if broken(&with) && broken(&without) {
            // It takes several seeds to mend it, or none can.
            let culprits = culprits(on.model, on.forward, &self.cast(on.model), on.pass, &self.rng());
            return (Probing::Broken(culprits), None);
        }
        // That a batch did not come to the slot is not the seed's fault.
        let faults = with.faults.iter().chain(&without.faults).filter(|fault| fault.reason != "slot_not_reached");
        let facts = ProbeFacts {
            without: without.loss.unwrap_or(f32::NAN),
            with: with.loss,
            blend_latency: with.blend_times.get(id).copied(),
            faults: faults.map(fault).collect(),
        };
        let probed = without.loss.zip(with.loss).map(|(without, with)| Probed { without, with });
        (Probing::Measured(facts), probed)
    }

    /// What follows from a probe.
    fn judge_probe(&mut self, seed: SeedId, probing: Probing) -> Vec<Event> {
        match probing {
            Probing::Nothing => Vec::new(),
            Probing::Broken(culprits) => {
                self.act(Input::LearningPass(LearningFacts { culprits, ..LearningFacts::default() }));
                Vec::new()
            }
            Probing::Measured(facts) => self.act(Input::Probe(seed, facts)),
        }
    }

    /// What two seeds change together beyond what each changes alone.
    fn measure_interaction<H, F>(&self, one: &SeedId, other: &SeedId, on: &On<'_, B, H, F>) -> Option<f32>
    where
        H: HostModule<B>,
        F: Fn(&Grown<B, H>, &mut Grafts<B>) -> Tensor<B, 1>,
    {
        let without = |seed| Override { seed, alpha: None };
        let loss = |overrides: &[Override<'_>]| self.measure_on(on, overrides).loss;
        let all = on.live.or_else(|| loss(&[]));
        let alone = loss(&[without(one)]).zip(loss(&[without(other)]));
        let both = loss(&[without(one), without(other)]);
        let (without_one, without_other) = alone?;
        Some(both? - without_one - without_other + all?)
    }

    fn measure_on<H, F>(&self, on: &On<'_, B, H, F>, overrides: &[Override<'_>]) -> Measured
    where
        H: HostModule<B>,
        F: Fn(&Grown<B, H>, &mut Grafts<B>) -> Tensor<B, 1>,
    {
        measure(on.model, on.forward, &self.cast(on.model), overrides, on.pass, &self.rng())
    }
}

/// A measure whose loss another pass has shown.
const fn known(loss: f32) -> Measured {
    Measured { loss: Some(loss), faults: Vec::new(), blend_times: BTreeMap::new(), pass_time: Duration::ZERO }
}

fn learning_facts(learned: &LearningPass, before: &BTreeSet<SeedId>, first: bool) -> LearningFacts {
    let left_out = |seed: &SeedId| {
        learned.culprits.contains(seed) || learned.violations.iter().any(|violation| violation.seed == *seed)
    };
    LearningFacts {
        // A step is one loss of a window, however many batches it has.
        loss: learned.loss.filter(|_| first),
        learners: learned.gradients.iter().map(|(seed, _)| seed.clone()).filter(|seed| !left_out(seed)).collect(),
        culprits: learned.culprits.clone(),
        blend_latencies: learned.blend_times.clone(),
        verify_latency: learned.verify_time,
        faults: learned.faults.iter().map(fault).collect(),
        violations: Vec::new(),
        idle: idle(&learned.idle, before),
    }
}

fn idle(seeds: &[(SeedId, Idle)], learned: &BTreeSet<SeedId>) -> Vec<(SeedId, input::Idle)> {
    let reason = |idle: &Idle| match idle {
        Idle::SlotNotReached => input::Idle::SlotNotReached,
        Idle::SlotUnused => input::Idle::SlotUnused,
    };
    let idle = seeds.iter().filter(|(seed, _)| !learned.contains(seed));
    idle.map(|(seed, idle)| (seed.clone(), reason(idle))).collect()
}

fn fault(fault: &isolation::Fault) -> Fault {
    let isolation::Fault { seed, slot, reason, detail } = fault;
    Fault { seed: seed.clone(), slot: slot.clone(), reason, detail: detail.clone() }
}

/// The violations of seeds that have had none in this step: however many runs a step has, a seed violates once in it.
fn first_of_the_step(violations: &[isolation::Violation], report: &StepReport) -> Vec<Violation> {
    let earlier = |one: &&isolation::Violation| report.violations.iter().any(|other| other.seed == one.seed);
    violations.iter().filter(|one| !earlier(one)).map(violation).collect()
}

fn violation(violation: &isolation::Violation) -> Violation {
    let pass = match violation.pass {
        isolation::Pass::Host => Violation::HOST,
        isolation::Pass::Seed => Violation::SEED,
    };
    let isolation::Violation { seed, shared, overlap, .. } = violation;
    let (cosine, dot_product) = (overlap.map(|it| it.cosine), overlap.map(|it| it.dot_product));
    Violation { seed: seed.clone(), pass, shared: shared.len(), cosine, dot_product }
}
