//! Trains one contender.

use burn::{
    module::{AutodiffModule, Module},
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::{Int, Tensor, backend::Backend},
};
use kasmina::{
    Grafts, Grown, StepError,
    blending::BlendBackend,
    grown::{Fossil, FossilSpec},
    kernel_load::Initialisation,
};

use super::{
    GrowthError,
    data::Data,
    examples::{Batch, Examples, Shift},
    gardener::Gardener,
    hosts::{B, Device, Network, Shape},
    recipe::Recipe,
    record::{Contender, Record, Score},
};
use crate::{digits::shuffle, progress::Progress, stopwatch::Stopwatch};

/// Examples in a batch of an evaluation.
const EVALUATED: usize = 250;
/// Kernels of a network from scratch are drawn with other numbers than those of seeds.
const SCRATCH: u64 = 0x7363_7261_7463_6821;

/// What all contenders of one random seed share.
pub(super) struct Run<'a> {
    pub(super) data: &'a Data,
    pub(super) recipe: &'a Recipe,
    pub(super) seed: u64,
    pub(super) progress: &'a Progress,
}

/// A run that ended.
struct Trained {
    model: Grown<B, Network<B>>,
    steps: u64,
    parameter_steps: u64,
    seconds: f64,
    /// A loss was NaN or infinite.
    diverged: bool,
}

impl Run<'_> {
    pub(super) fn steps(&self) -> u64 {
        self.recipe.steps(self.data.train.len())
    }

    /// Trains a network without a manager: the host of this shape, with these kernels as part of it from the start.
    pub(super) fn alone(
        &self,
        contender: Contender,
        shape: &Shape,
        kernels: &[FossilSpec],
    ) -> Result<Record, GrowthError> {
        let mut model = assemble(shape, kernels, self.seed)?;
        let mut optimizer = AdamWConfig::new().with_weight_decay(self.recipe.weight_decay).init();
        let (steps, parameters) = (self.steps(), model.num_params() as u64);
        let (mut seconds, mut done, mut diverged) = (0.0, 0, false);
        for (step, batch) in self.batches() {
            let timer = Stopwatch::start();
            let loss = model.forward(|host, grafts| loss(host, &batch, grafts))?;
            let value = loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN);
            if !value.is_finite() {
                diverged = true;
                break;
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(self.recipe.learning_rate * Recipe::rate(step, steps), model, gradients);
            seconds += timer.seconds();
            done += 1;
            self.show(contender, step, value);
        }
        let trained = Trained { model, steps: done, parameter_steps: done * parameters, seconds, diverged };
        self.record(contender, shape, trained)
    }

    /// Trains a host into which seeds grow.
    pub(super) fn grown(&self, shape: &Shape) -> Result<Record, GrowthError> {
        let mut model = assemble(shape, &[], self.seed)?;
        let mut optimizer = AdamWConfig::new().with_weight_decay(self.recipe.weight_decay).init();
        let steps = self.steps();
        let mut gardener = Gardener::new(shape, &model, self)?;
        let (mut seconds, mut parameter_steps, mut done, mut diverged) = (0.0, 0, 0, false);
        for (step, batch) in self.batches() {
            let timer = Stopwatch::start();
            let parameters = model.num_params() as u64 + gardener.learning();
            let rate = Recipe::rate(step, steps);
            gardener.manager.scale_learning_rates(rate)?;
            let learning_rate = self.recipe.learning_rate * rate * gardener.share_of_rate();
            let trained = gardener
                .manager
                .train_batch(&mut model, &mut optimizer, learning_rate, |host, grafts| loss(host, &batch, grafts));
            let report = match trained {
                Err(StepError::NonFiniteLoss { .. }) => {
                    diverged = true;
                    break;
                }
                trained => trained?,
            };
            gardener.tend(&report, self.progress);
            seconds += timer.seconds();
            parameter_steps += parameters;
            done += 1;
            if step.is_multiple_of(20) {
                self.progress.show(format_args!("step {step}/{steps}  loss {:.3}", report.loss));
            }
        }
        // What was answered FOSSILIZE in the last step is part of the network, too.
        gardener.manager.settle(&mut model)?;
        let trained = Trained { model, steps: done, parameter_steps, seconds, diverged };
        Ok(Record { growth: gardener.finish(), ..self.record(Contender::Grown, shape, trained)? })
    }

    /// The same batches for every contender, with the number of the step, from 0.
    pub(super) fn batches(&self) -> impl Iterator<Item = (u64, Batch)> {
        let Self { data, recipe, seed, .. } = *self;
        let batch = recipe.batch;
        let epochs = (0..recipe.epochs).flat_map(move |epoch| {
            let mut order: Vec<usize> = (0..data.train.len()).collect();
            shuffle(&mut order, seed.wrapping_mul(1_000).wrapping_add(epoch));
            order.chunks_exact(batch).map(<[usize]>::to_vec).collect::<Vec<_>>()
        });
        (0..).zip(epochs).map(move |(step, places): (u64, Vec<usize>)| {
            let random = fastrand::Rng::with_seed(seed.wrapping_mul(1 << 32).wrapping_add(step));
            let mut shift = Shift { reach: recipe.shift, random };
            (step, data.train.batch(&places, Some(&mut shift)))
        })
    }

    fn show(&self, contender: Contender, step: u64, loss: f32) {
        if step.is_multiple_of(20) {
            self.progress.show(format_args!("{contender}  step {step}/{}  loss {loss:.3}", self.steps()));
        }
    }

    fn record(&self, contender: Contender, shape: &Shape, trained: Trained) -> Result<Record, GrowthError> {
        let Trained { model, steps, parameter_steps, seconds, diverged } = trained;
        let judge = |examples: &Examples| {
            let model = model.valid();
            score(examples, |batch| model.forward(|host, grafts| host.logits(batch, grafts)).map_err(Into::into))
        };
        let scores = if diverged {
            None
        } else {
            let test = self.recipe.test.then(|| judge(&self.data.test)).transpose()?;
            // The last step can be the one that breaks the network.
            Some((judge(&self.data.validation)?, test))
                .filter(|(validation, test)| validation.is_finite() && test.is_none_or(Score::is_finite))
        };
        Ok(Record {
            contender,
            seed: self.seed,
            network: shape.describe(),
            parameters: model.num_params() as u64,
            steps,
            parameter_steps,
            seconds,
            diverged: scores.is_none(),
            validation: scores.map(|(validation, _)| validation),
            test: scores.and_then(|(_, test)| test),
            growth: Vec::new(),
            fossils: model.fossils().iter().map(|fossil| fossil.spec().clone()).collect(),
        })
    }
}

/// The host with new weights, which depend on the random seed alone, and new kernels, whose last maps start at zero as those of seeds do.
pub(super) fn assemble(shape: &Shape, kernels: &[FossilSpec], seed: u64) -> Result<Grown<B, Network<B>>, GrowthError> {
    let device = Device::default();
    B::seed(&device, seed);
    let mut model = Grown::new(shape.init(&device));
    // Parameters are drawn when they are first looked at.
    model.num_params();
    let mut random = fastrand::Rng::with_seed(seed ^ SCRATCH);
    for spec in kernels {
        let weights = Initialisation { seed: random.u64(..), zero_last: true };
        model.push(Fossil::fresh(spec.clone(), &weights, &device)?)?;
    }
    Ok(model)
}

pub(super) fn loss<C: BlendBackend>(host: &Network<C>, batch: &Batch, grafts: &mut Grafts<C>) -> Tensor<C, 1> {
    cross_entropy(host.logits(batch, grafts), batch)
}

pub(super) fn cross_entropy<C: Backend>(logits: Tensor<C, 2>, batch: &Batch) -> Tensor<C, 1> {
    let device = logits.device();
    let labels = Tensor::<C, 1, Int>::from_data(batch.labels.clone(), &device);
    CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
}

/// Loss and accuracy over all labels.
pub(super) fn score<C: Backend>(
    examples: &Examples,
    logits: impl Fn(&Batch) -> Result<Tensor<C, 2>, GrowthError>,
) -> Result<Score, GrowthError> {
    let (mut loss, mut right, mut labels) = (0.0, 0.0, 0.0);
    for batch in examples.batches(EVALUATED) {
        let logits = logits(&batch)?;
        let rows = logits.dims()[0] as f64;
        let first = |tensor: Tensor<C, 1>| tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN);
        loss += rows * first(cross_entropy(logits.clone(), &batch));
        let asked = Tensor::<C, 1, Int>::from_data(batch.labels.clone(), &logits.device()).reshape([-1, 1]);
        right += first(logits.argmax(1).equal(asked).float().sum());
        labels += rows;
    }
    Ok(Score { loss: loss / labels, accuracy: right / labels })
}

#[cfg(test)]
#[path = "training_tests.rs"]
mod tests;
