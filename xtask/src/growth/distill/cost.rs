//! What a teacher adds to a managed step, in turns with the step without it.

use burn::optim::AdamWConfig;
use kasmina::{Grafts, SeedManager, Settings};
use kasmina_distill::{DistillSettings, Teacher};
use serde::Serialize;

use super::{
    Inner,
    student::{TeacherNetwork, distillation, lesson},
};
use crate::{
    growth::{
        GrowthError,
        data::Data,
        hosts::{B, Device, Network, Shape},
        recipe::Recipe,
        training::{assemble, cross_entropy},
    },
    stopwatch::Stopwatch,
};

/// Rounds of three steps each.
const ROUNDS: u64 = 60;
/// Rounds that are not counted.
const WARM_UP: u64 = 5;

/// In milliseconds: what a tenth of the samples stay below, because other work on the machine only adds to them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    /// A step without a teacher.
    pub(super) step: f64,
    /// A step whose answer has to be asked of the teacher.
    pub(super) cold: f64,
    /// Of that, the teacher's forward pass with its softmax.
    pub(super) teacher: f64,
    /// A step whose answer is in the cache.
    pub(super) warm: f64,
}

pub(super) fn measure(
    data: &Data,
    recipe: &Recipe,
    shape: &Shape,
    teacher: Teacher<Inner, TeacherNetwork>,
) -> Result<Cost, GrowthError> {
    let mut distillation = distillation(DistillSettings::default(), teacher)?;
    let mut model = assemble(shape, &[], 0)?;
    let mut optimizer = AdamWConfig::new().init();
    let mut manager = SeedManager::<B>::local(Settings::default(), &Device::default())?;
    let places: Vec<usize> = (0..recipe.batch).collect();
    let batch = data.train.batch(&places, None);
    let [mut step, mut cold, mut asked, mut warm] = [const { Vec::new() }; 4];
    for round in 0..ROUNDS + WARM_UP {
        // Without a teacher, with a new number, and with the same one again.
        for kind in 0..3_u64 {
            let timer = Stopwatch::start();
            let lesson = (kind > 0).then(|| lesson(&mut distillation, round, &batch));
            let teaching = timer.seconds();
            let loss = |host: &Network<B>, grafts: &mut Grafts<B>| {
                let logits = host.logits(&batch, grafts);
                let task = cross_entropy(logits.clone(), &batch);
                match &lesson {
                    Some(lesson) => lesson.loss(logits, task),
                    None => task,
                }
            };
            manager.train_batch(&mut model, &mut optimizer, 1e-4, loss)?;
            let whole = timer.seconds();
            if round < WARM_UP {
                continue;
            }
            match kind {
                0 => step.push(whole),
                1 => {
                    cold.push(whole);
                    asked.push(teaching);
                }
                _ => warm.push(whole),
            }
        }
    }
    let [step, cold, teacher, warm] = [step, cold, asked, warm].map(tenth);
    Ok(Cost { step, cold, teacher, warm })
}

/// What a tenth of the samples stay below, in milliseconds.
fn tenth(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    1e3 * seconds.get(seconds.len() / 10).copied().unwrap_or(f64::NAN)
}
