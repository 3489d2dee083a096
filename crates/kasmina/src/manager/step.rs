//! One training step: the passes over its batches, the optimizers, and what follows from them.

use std::{collections::BTreeMap, time::Duration};

use burn::{
    optim::{GradientsParams, Optimizer},
    tensor::Tensor,
};
use kasmina_blending::GraftBackend;
use kasmina_engine::Input;
use kasmina_grown::{Grown, HostModule};
use kasmina_isolation::{Grafts, HostPass, RngStream, Statistics, add_gradients, gradient_squares, scale_gradients};
use kasmina_leyline::SeedId;

use super::samples::Numbers;
use crate::{
    error::{CheckpointError, StepError},
    events,
    manager::SeedManager,
    report::StepReport,
    trainer_state::{Parts, model_to_parts, to_parts},
};

impl<B: GraftBackend> SeedManager<B> {
    /// Trains the model on a batch, and with it every seed that learns: a [`Step`] with one run.
    ///
    /// `forward` runs the host with grafts on the batch and gives the loss, one number. It is called once to train the model, once for all
    /// seeds that learn behind the barrier (BLENDING), and now and then to measure what a seed changes; it must do the same each
    /// time. The model, which is the host with its fossils, steps by `optimizer` at `learning_rate`; each seed by an optimizer of its own at
    /// a rate of its own (`training.optimizer`, `training.learning_rate`). If a seed's gradient and the model's touch, the model's step is
    /// as if the seed had not been there.
    ///
    /// Between its passes it seeds the backend's random numbers (`training.reseed`), and once more at its end, so that what the
    /// trainer draws before the next batch does not depend on the seeds.
    ///
    /// Burn's optimizers take a model by value, and one that panics must not leave a trainer without its model. So the old parameters
    /// live until the optimizer is done. A [`Step`] in parts can move the model into its optimizer instead.
    ///
    /// # Errors
    /// [`StepError`]; the model's weights and its optimizer are as they were.
    pub fn train_batch<H, O>(
        &mut self,
        model: &mut Grown<B, H>,
        optimizer: &mut O,
        learning_rate: f64,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<StepReport, StepError>
    where
        H: HostModule<B>,
        O: Optimizer<Grown<B, H>, B>,
    {
        let mut step = self.begin(model, &|model: &Grown<B, H>| to_parts(model, Some(&*optimizer)))?;
        step.run(model, forward)?;
        let gradients = step.gradients(model)?;
        let started = step.manager.clock.monotonic();
        *model = optimizer.step(learning_rate, model.clone(), gradients);
        step.report.timing.optimizer = step.manager.clock.monotonic().since(started);
        step.end(model, &|model: &Grown<B, H>| to_parts(model, Some(&*optimizer)))
    }

    /// Begins a step in parts, for a loop of the trainer's own: see [`Step`].
    ///
    /// # Errors
    /// [`StepError::RollbackPending`], [`StepError::Model`].
    pub fn begin_step<H: HostModule<B>>(&mut self, model: &mut Grown<B, H>) -> Result<Step<'_, B>, StepError> {
        self.begin(model, &model_to_parts)
    }

    /// One more batch in a blend: alpha rises for seeds in BLENDING and falls for those that leave, which are culled at 0. A [`Step`] does
    /// this in its first run. It is for a trainer that runs [passes](kasmina_isolation) of its own instead of steps.
    pub fn advance_alpha(&mut self) {
        if self.state().holds_kernels() {
            self.act(Input::AlphaAdvanced);
        }
    }

    fn begin<H: HostModule<B>>(
        &mut self,
        model: &mut Grown<B, H>,
        parts: &impl Fn(&Grown<B, H>) -> Result<Parts, CheckpointError>,
    ) -> Result<Step<'_, B>, StepError> {
        if let Some(epoch) = self.state().run.rollback {
            return Err(self.refuse_step(StepError::RollbackPending { epoch }));
        }
        if let Err(error) = self.check_model(model) {
            return Err(self.refuse_step(error.into()));
        }
        self.follow(model);
        if !self.group.is_alone() {
            // What a disk refused is tried again before the others are met, who have it.
            let settled = self.settle_with(model, parts);
            let joined = self.tolerate(settled);
            self.joined.extend(joined);
        }
        if let Err(error) = self.begin_together(model) {
            return Err(self.refuse_step(error));
        }
        self.begin_rng(model);
        self.act(Input::Tick);
        if self.group.is_alone() {
            self.assess_memory();
        }
        self.watch_kernels();
        let saved = self.save_first_network(model);
        self.tolerate(saved);
        let settled = self.settle_with(model, parts);
        let joined = self.tolerate(settled);
        self.run = 0;
        self.joined.extend(joined);
        let report = StepReport { step: self.step().saturating_add(1), ..StepReport::default() };
        Ok(Step { manager: self, report, runs: 0, model: None, kernels: BTreeMap::new(), logits: None, numbers: None })
    }
}

/// A training step in parts: any number of [runs](Self::run), one [set of gradients](Self::gradients), and the
/// [end](Self::finish). Between the gradients and the end, the trainer does what it likes with its model: clips, reduces, steps by one
/// optimizer or two, at a rate of its own.
///
/// Gradient accumulation is several runs. The gradients are the mean over the runs, of the model and of every seed, as if the batches had
/// been one; alpha advances once.
///
/// ```
/// # use burn::{backend::{Autodiff, Flex}, module::Module, nn::{Linear, LinearConfig}, optim::{AdamWConfig, Optimizer}};
/// # use burn::tensor::{Distribution, Tensor, activation::relu, backend::Backend};
/// # use kasmina::{GraftBackend, Grafts, SeedManager, Settings, blending::BlendBackend};
/// use kasmina::grown::{Grown, clip_by_global_norm};
/// # type B = Autodiff<Flex>;
/// # #[derive(Module, Debug)]
/// # struct Host<B: Backend> { stem: Linear<B>, head: Linear<B> }
/// # impl<B: BlendBackend> Host<B> {
/// #     fn loss(&self, x: &Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
/// #         let h = relu(self.stem.forward(x.clone()));
/// #         (self.head.forward(grafts.at("mid", h)) - x.clone().sum_dim(1)).square().mean()
/// #     }
/// # }
/// # let device = Default::default();
/// # let host = Host::<B> { stem: LinearConfig::new(8, 4).init(&device), head: LinearConfig::new(4, 1).init(&device) };
/// # let mut manager = SeedManager::<B>::local(Settings::automatic(), &device)?;
/// # let batch = || Tensor::<B, 2>::random([16, 8], Distribution::Default, &device);
/// # let batches = [batch(), batch()];
/// let mut model = Grown::new(host);
/// let mut optimizer = AdamWConfig::new().init();
/// # manager.attach_host(&model, |host, grafts| host.loss(&batches[0], grafts))?;
///
/// let mut step = manager.begin_step(&mut model)?;
/// for batch in &batches {
///     step.run(&model, |host, grafts| host.loss(batch, grafts))?;
/// }
/// let mut gradients = step.gradients(&model)?;
/// clip_by_global_norm(&model, &mut gradients, 1.0);
/// model = optimizer.step(1e-2, model, gradients);
/// let report = step.finish(&mut model)?;
/// assert_eq!(report.step, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A step that is dropped before its end is not taken: no seed learns and none is judged. What its runs showed stays: losses,
/// probes, faults, violations, running statistics, and the advance of alpha.
#[must_use = "a step is taken by `finish`"]
pub struct Step<'m, B: GraftBackend> {
    manager: &'m mut SeedManager<B>,
    report: StepReport,
    runs: u64,
    /// The sum of the model's gradients.
    model: Option<GradientsParams>,
    /// The sums of the seeds' gradients.
    kernels: BTreeMap<SeedId, GradientsParams>,
    logits: Option<Tensor<B, 2>>,
    /// What was read from the device, once the gradients have been taken.
    numbers: Option<Numbers>,
}

impl<B: GraftBackend> std::fmt::Debug for Step<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("report", &self.report).field("runs", &self.runs).finish_non_exhaustive()
    }
}

impl<B: GraftBackend> Step<'_, B> {
    /// Runs the model on a batch, forward and backward, and the seeds on the same batch. Returns the model's loss. `forward` is that of
    /// [`train_batch`](SeedManager::train_batch).
    ///
    /// # Errors
    /// [`StepError`]; the model's running statistics are as they were before the run, which counts for nothing. The step goes on:
    /// run another batch, finish without this one, or drop the step.
    pub fn run<H: HostModule<B>>(
        &mut self,
        model: &Grown<B, H>,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<f32, StepError> {
        let Self { manager, report, kernels, .. } = self;
        if self.numbers.is_some() {
            return Err(manager.refuse_step(StepError::GradientsTaken));
        }
        let learned = kernels.keys().cloned().collect();
        manager.run = self.runs;
        let forward = |model: &Grown<B, H>, grafts: &mut Grafts<B>| forward(&model.host, grafts);
        // Running statistics move in the pass itself: a run that counts for nothing must not leave them moved.
        let statistics = Statistics::of(model);
        let first = self.runs == 0;
        let passed = manager.host_pass(model, &forward, &learned, report).and_then(|pass| {
            if first {
                manager.advance_alpha();
            }
            let learned = manager.seeds_pass(model, &forward, &pass, &learned, first, report)?;
            Ok((pass, learned))
        });
        let (pass, learned) = match passed {
            Ok(passed) => passed,
            Err(error) => {
                statistics.restore(model);
                return Err(manager.refuse_run(error));
            }
        };
        if first && !manager.group.is_alone() {
            manager.unsettled = Some(statistics);
        }
        let HostPass { loss, gradients, kernels, trace, .. } = pass;
        for (seed, gradients) in kernels.into_iter().chain(learned) {
            let Some(kernel) = manager.tensors.kernel_ref(&seed) else { continue };
            add_gradients(kernel, self.kernels.entry(seed).or_default(), gradients);
        }
        match &mut self.model {
            None => self.model = Some(gradients),
            Some(sum) => add_gradients(model, sum, gradients),
        }
        self.logits = trace.logits;
        self.runs += 1;
        report.loss += (loss - report.loss) / self.runs as f32;
        // What the trainer draws for the next batch does not depend on the passes of seeds.
        manager.run = self.runs;
        manager.rng().start(RngStream::Trainer);
        Ok(loss)
    }

    /// The mean of the model's gradients over the runs, host and fossils: verified, so that no seed has a part in them. With several
    /// workers, the mean over all of theirs. Empty before the first run and when called again.
    ///
    /// # Errors
    /// [`StepError::Reduce`] if the workers cannot exchange them: the step has no run that counts any more.
    pub fn gradients<H: HostModule<B>>(&mut self, model: &Grown<B, H>) -> Result<GradientsParams, StepError> {
        let mut gradients = self.model.take().unwrap_or_default();
        if self.runs == 0 || self.numbers.is_some() {
            return Ok(gradients);
        }
        if self.runs > 1 {
            let share = 1.0 / self.runs as f32;
            scale_gradients(model, &mut gradients, share);
            for (seed, gradients) in &mut self.kernels {
                if let Some(kernel) = self.manager.tensors.kernel_ref(seed) {
                    scale_gradients(kernel, gradients, share);
                }
            }
        }
        let reduced = self.manager.reduce_gradients(model, gradients, &mut self.kernels);
        gradients = match reduced {
            Ok(gradients) => gradients,
            Err(error) => {
                self.runs = 0;
                if let Some(before) = self.manager.unsettled.take() {
                    before.restore(model);
                }
                return Err(self.manager.refuse_run(error));
            }
        };
        self.numbers = Some(if self.manager.samples(self.report.step) {
            let squares = gradient_squares(model, &gradients);
            let sampled = self.manager.sample(squares, &self.kernels, self.logits.as_ref());
            // A model that is frozen has no gradient, which is a norm of 0 and not one that is still to be measured.
            Numbers { host: sampled.host.or(Some(0.0)), ..sampled }
        } else {
            Numbers::default()
        });
        Ok(gradients)
    }

    /// Takes the step: the seeds learn, the engine judges, the policy gives its orders, and what has become a fossil joins the model. The
    /// trainer has stepped its model before; if it has not, only the seeds learn.
    ///
    /// # Errors
    /// [`StepError::NothingRun`] if there was no run that counts.
    pub fn finish<H: HostModule<B>>(self, model: &mut Grown<B, H>) -> Result<StepReport, StepError> {
        self.end(model, &model_to_parts)
    }

    fn end<H: HostModule<B>>(
        mut self,
        model: &mut Grown<B, H>,
        parts: &impl Fn(&Grown<B, H>) -> Result<Parts, CheckpointError>,
    ) -> Result<StepReport, StepError> {
        drop(self.gradients(model)?);
        let Self { manager, mut report, runs, kernels, numbers, .. } = self;
        manager.run = 0;
        if runs == 0 {
            return Err(manager.refuse_step(StepError::NothingRun));
        }
        let numbers = numbers.unwrap_or_default();
        let started = manager.clock.monotonic();
        let learned = manager.learn(kernels, &numbers);
        report.timing.optimizer += manager.clock.monotonic().since(started);

        manager.take_step(learned, numbers.host, runs, &mut report);
        for (seed, blend, stats) in &numbers.blends {
            manager.reporter.write(|to| events::blended(to, seed, blend, stats));
        }
        if manager.ask_again {
            // What the disk refuses is asked for again in the next step.
            let _ = manager.fetch_awaited(Duration::ZERO);
        }
        // What the disk refuses is taken with the next step.
        let _ = manager.take_arrivals();
        manager.follow_policy(&report);
        let settled = manager.settle_with(model, parts);
        report.joined = std::mem::take(&mut manager.joined);
        report.joined.extend(manager.tolerate(settled));
        manager.write_committed(manager.step().is_multiple_of(manager.settings.rollback.checkpoint_every));
        manager.show_pending();
        report.transitions = manager.take_moved();
        report.timing.exchange = manager.group.take_exchange();
        manager.report(&report);
        manager.flush_telemetry();
        manager.refused_steps = 0;
        manager.unsettled = None;
        manager.rng().start(RngStream::Trainer);
        Ok(report)
    }
}
