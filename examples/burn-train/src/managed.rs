//! The model that a learner owns, and the manager behind it.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use burn::{
    backend::Flex,
    module::{AutodiffModule, Module},
    optim::{GradientsParams, MultiGradientsParams, Optimizer},
    tensor::backend::{AutodiffBackend, Backend},
};
use burn_train::{InferenceStep, Interrupter, TrainOutput, TrainStep};
use kasmina::{Grown, SeedManager, StepError, StepReport};

use crate::{Batch, Host, Loss, Train, Trained};

/// Why a training stops that gives the manager more than one batch, or none, for one step of the optimizer.
const ONE_BATCH: &str = "a managed step trains one batch: no gradient accumulation, and one device";

/// The model, which the learner trains and saves, and the run that it belongs to.
#[derive(Module, Debug)]
pub struct Managed<B: Backend> {
    /// The host with what has grown into it.
    pub model: Grown<B, Host<B>>,
    /// The run. It is no part of a record.
    #[module(skip)]
    pub run: Run,
}

/// A manager and what it and the learner exchange. Clones are the same run.
#[derive(Clone)]
pub struct Run(Arc<Mutex<State>>);

struct State {
    manager: SeedManager<Train>,
    interrupter: Interrupter,
    epoch_batches: u64,
    /// What the learner has given to `step` and `optimize` has not trained yet.
    waiting: Vec<(Batch<Train>, Trained)>,
    moves: Vec<(u64, &'static str)>,
}

impl Run {
    /// A run whose manager has seen the model. What the manager refuses stops the training through the `interrupter`, which must be the
    /// training's own; `epoch_batches` is how many batches make an epoch, which the learner does not say.
    #[must_use]
    pub fn new(manager: SeedManager<Train>, interrupter: Interrupter, epoch_batches: u64) -> Self {
        let (waiting, moves) = (Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { manager, interrupter, epoch_batches, waiting, moves })))
    }

    /// The moves of seeds so far: the step, and the stage that was entered.
    #[must_use]
    pub fn moves(&self) -> Vec<(u64, &'static str)> {
        self.lock().moves.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run")
    }
}

impl TrainStep for Managed<Train> {
    type Input = Batch<Train>;
    type Output = Trained;

    /// Takes the batch. There are no gradients yet, and the learner does not look at them.
    fn step(&self, batch: Batch<Train>) -> TrainOutput<Trained> {
        let item = Trained::default();
        self.run.lock().waiting.push((batch, item.clone()));
        TrainOutput { grads: GradientsParams::new(), item }
    }

    /// The whole step. Only here does the learner lend its model, its optimizer and its rate.
    fn optimize<B, O>(self, optimizer: &mut O, rate: f64, _: GradientsParams) -> Self
    where
        B: AutodiffBackend,
        O: Optimizer<Self, B>,
        Self: AutodiffModule<B>,
    {
        let run = self.run.clone();
        let state = &mut *run.lock();
        let mut waiting = mem::take(&mut state.waiting).into_iter();
        let (Some((batch, item)), None) = (waiting.next(), waiting.next()) else {
            state.interrupter.stop(Some(ONE_BATCH));
            return self;
        };
        let mut managed = self;
        let mut take = || -> Result<StepReport, StepError> {
            let mut step = state.manager.begin_step(&mut managed.model)?;
            item.set(step.run(&managed.model, |host, grafts| host.loss(&batch, grafts))?);
            let gradients = step.gradients(&managed.model)?;
            managed = optimizer.step(rate, managed.clone(), gradients);
            step.finish(&mut managed.model)
        };
        match take() {
            Ok(report) => {
                state.moves.extend(report.transitions.iter().map(|moved| (report.step, moved.to.as_str_name())));
                if report.step.is_multiple_of(state.epoch_batches) {
                    state.manager.end_epoch();
                }
            }
            // The model's weights and its optimizer are as they were.
            Err(error) => state.interrupter.stop(Some(&error.to_string())),
        }
        managed
    }

    /// What a learner on several devices calls.
    fn optimize_multi<B, O>(self, optimizer: &mut O, rate: f64, _: MultiGradientsParams) -> Self
    where
        B: AutodiffBackend,
        O: Optimizer<Self, B>,
        Self: AutodiffModule<B>,
    {
        self.optimize::<B, O>(optimizer, rate, GradientsParams::new())
    }
}

impl InferenceStep for Managed<Flex> {
    type Input = Batch<Flex>;
    type Output = Loss;

    /// The host with its fossils needs no manager. Its `live_view` would have the seeds under trial in it, too.
    fn step(&self, batch: Batch<Flex>) -> Loss {
        Loss(self.model.host.loss(&batch, &mut self.model.grafts()).into_scalar())
    }
}
