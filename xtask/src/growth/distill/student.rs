//! Students, with a teacher and without.

use std::{fmt, sync::Arc};

use burn::{
    module::AutodiffModule,
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::Tensor,
};
use kasmina::{Grown, safety::SystemClock};
use kasmina_distill::{DistillSettings, Distillation, Lesson, Teacher};
use serde::Serialize;

use super::Inner;
use crate::{
    growth::{
        GrowthError,
        examples::Batch,
        hosts::{B, Network, Shape},
        recipe::Recipe,
        record::Score,
        training::{Run, assemble, cross_entropy, score},
    },
    stopwatch::Stopwatch,
};

/// What a student learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Contender {
    /// The labels alone.
    Labels,
    /// The default: temperature 4, weight 0.3.
    Teacher,
    /// The same, with the divergence times the square of the temperature.
    TeacherSquared,
}

impl Contender {
    pub(super) const ALL: [Self; 3] = [Self::Labels, Self::Teacher, Self::TeacherSquared];

    pub(super) fn settings(self) -> DistillSettings {
        DistillSettings { temperature_squared: self == Self::TeacherSquared, ..DistillSettings::default() }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Labels => "labels",
            Self::Teacher => "teacher",
            Self::TeacherSquared => "teacher, times T²",
        })
    }
}

pub(super) type TeacherNetwork = Grown<Inner, Network<Inner>>;
pub(super) type Distilled = Distillation<B, TeacherNetwork>;

/// A distillation with the system's clock.
pub(super) fn distillation(
    settings: DistillSettings,
    teacher: Teacher<Inner, TeacherNetwork>,
) -> Result<Distilled, GrowthError> {
    Ok(Distillation::new(settings, teacher, Arc::new(SystemClock::new()))?)
}

/// What the teacher says about a batch.
pub(super) fn lesson(distillation: &mut Distilled, number: u64, batch: &Batch) -> Lesson<B> {
    distillation.teach(number, |teacher, _| Ok(teacher.forward(|host, grafts| host.logits(batch, grafts))?))
}

/// The test score of a student, and the seconds of its steps.
pub(super) fn train(
    run: &Run<'_>,
    shape: &Shape,
    contender: Contender,
    teacher: Teacher<Inner, TeacherNetwork>,
) -> Result<(Score, f64), GrowthError> {
    let mut distillation = distillation(contender.settings(), teacher)?;
    if contender == Contender::Labels {
        distillation.drop_teacher();
    }
    let (model, seconds) = learn(run, shape, |number, batch, logits| {
        let task = cross_entropy(logits.clone(), batch);
        lesson(&mut distillation, number, batch).loss(logits, task)
    })?;
    Ok((judge(run, &model)?, seconds))
}

/// A network that learns from labels alone.
pub(super) fn alone(run: &Run<'_>, shape: &Shape) -> Result<(Grown<B, Network<B>>, Score), GrowthError> {
    let (model, _) = learn(run, shape, |_, batch, logits| cross_entropy(logits, batch))?;
    let score = judge(run, &model)?;
    Ok((model, score))
}

fn learn(
    run: &Run<'_>,
    shape: &Shape,
    mut loss: impl FnMut(u64, &Batch, Tensor<B, 2>) -> Tensor<B, 1>,
) -> Result<(Grown<B, Network<B>>, f64), GrowthError> {
    let mut model = assemble(shape, &[], run.seed)?;
    let mut optimizer = AdamWConfig::new().with_weight_decay(run.recipe.weight_decay).init();
    let (steps, mut seconds) = (run.steps(), 0.0);
    for (step, batch) in run.batches() {
        let timer = Stopwatch::start();
        let logits = model.forward(|host, grafts| host.logits(&batch, grafts))?;
        let loss = loss(step, &batch, logits);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(run.recipe.learning_rate * Recipe::rate(step, steps), model, gradients);
        seconds += timer.seconds();
        if step.is_multiple_of(20) {
            run.progress.show(format_args!("step {step}/{steps}"));
        }
    }
    Ok((model, seconds))
}

fn judge(run: &Run<'_>, model: &Grown<B, Network<B>>) -> Result<Score, GrowthError> {
    let model = model.valid();
    score(&run.data.test, |batch| Ok(model.forward(|host, grafts| host.logits(batch, grafts))?))
}
