//! A student that computes activations again instead of keeping them learns the same.

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, Flex,
        autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing},
    },
    module::AutodiffModule,
    optim::AdamWConfig,
};
use kasmina::{Grafts, Grown, SeedManager, Settings, kernel_load::blueprints::Blueprint};
use kasmina_distill::{DistillSettings, Distillation, Teacher};
use kasmina_safety::doubles::ManualClock;

use crate::common::{B, Network, batch, task, weights};

/// The weights of a network after some steps of a managed run with a teacher and a seed.
fn trained<C: CheckpointStrategy>(start: &Network<B>, teacher: &Network<Flex>) -> Vec<u32> {
    type Student<C> = Autodiff<Flex, C>;
    let device = Default::default();
    let mut model = Grown::new(Network::<Student<C>>::from_inner(start.valid()));
    let mut optimizer = AdamWConfig::new().init();
    let settings = Settings::automatic();
    let mut manager = SeedManager::<Student<C>>::local(settings, &device).unwrap();
    let teacher = Teacher::new(teacher.clone(), None);
    let clock = Arc::new(ManualClock::default());
    let mut distillation = Distillation::new(DistillSettings::default(), teacher, clock).unwrap();
    for step in 0..15 {
        let lesson = distillation.teach(step, |teacher, _| Ok(teacher.logits(batch(step), &mut Grafts::none())));
        let loss = |host: &Network<Student<C>>, grafts: &mut Grafts<Student<C>>| {
            let logits = host.logits(batch(step), grafts);
            lesson.loss(logits.clone(), task(logits))
        };
        if step == 0 {
            manager.attach_host(&model, loss).unwrap();
            manager.plant("mid", Blueprint::Mlp).unwrap();
        }
        manager.train_batch(&mut model, &mut optimizer, 1e-2, loss).unwrap();
    }
    weights(&model)
}

#[test]
fn checkpointed_student_has_the_weights_of_one_that_keeps_everything() {
    let (start, teacher) = (Network::<B>::new(6), Network::new(32));
    let kept = trained::<NoCheckpointing>(&start, &teacher);
    assert!(kept != weights(&start), "it has learned");
    assert!(trained::<BalancedCheckpointing>(&start, &teacher) == kept);
}
