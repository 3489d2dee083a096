//! A teacher beside a manager: seeds learn from it, nobody touches it, and it goes when it must.

use std::sync::Arc;

use burn::{
    backend::Flex,
    module::{AutodiffModule, Module},
    optim::{GradientsParams, Optimizer},
};
use kasmina::{
    Grafts, Grown, StepReport,
    commands::Order,
    doubles::{Act, World, bytes, lenient, optimizer, seed, slot},
    gates::doubles::AllowAll,
    kernel_load::{LayerSpec, SlotContract},
    leyline::v1::{SeedLifecycleStage::*, TelemetryEvent},
    memory::Pool,
};
use kasmina_distill::{DistillSettings, Distillation, Lesson, Teacher};

use crate::common::{B, Network, Taught, batch, bits, spoil, task, teach};

const RATE: f64 = 1e-2;

fn world() -> World {
    let world =
        World::build(lenient(), |builder| builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap());
    world.publish("six", SlotContract::f32(2, 6, 6), vec![LayerSpec::linear(6, 6)]);
    world
}

fn model() -> Grown<B, Network<B>> {
    Grown::new(Network::new(6))
}

fn loss(lesson: &Lesson<B>, number: u64) -> impl Fn(&Network<B>, &mut Grafts<B>) -> burn::tensor::Tensor<B, 1> {
    move |host, grafts| {
        let logits = host.logits(batch(number), grafts);
        lesson.loss(logits.clone(), task(logits))
    }
}

fn distillation(world: &World, settings: DistillSettings) -> Taught {
    let teacher = Teacher::new(Network::new(32), None);
    Distillation::new(settings, teacher, Arc::new(world.clock.clone())).unwrap()
}

fn train<O: Optimizer<Grown<B, Network<B>>, B>>(
    world: &mut World,
    model: &mut Grown<B, Network<B>>,
    optimizer: &mut O,
    lesson: &Lesson<B>,
    number: u64,
) -> StepReport {
    world.manager.train_batch(model, optimizer, RATE, loss(lesson, number)).unwrap()
}

fn named<'a>(events: &'a [TelemetryEvent], name: &str) -> Vec<&'a TelemetryEvent> {
    events.iter().filter(|event| event.description == name).collect()
}

#[test]
fn training_and_blending_seeds_learn_from_the_teacher_alone_and_the_host_is_that_of_its_control() {
    let mut world = world();
    // The task has no share in the loss: whatever is learned is learned from the teacher.
    let settings = DistillSettings { weight: 1.0, ..DistillSettings::default() };
    let mut distillation = distillation(&world, settings);
    let mut model = model();
    // Plain Burn, with the same teacher and without seeds.
    let (mut control, mut its_optimizer) = (Grown::new(Network::<B>::from_inner(model.host.valid())), optimizer());
    let mut optimizer = optimizer();
    let first = teach(&mut distillation, 0);
    world.manager.attach_host(&model, loss(&first, 0)).unwrap();
    for (name, at) in [("seed-1", "mid"), ("seed-2", "late")] {
        world.manager.register_seed(seed(name), slot(at)).unwrap();
        world.germinate(name, "six").unwrap();
    }
    let start = bytes(&model);
    let weights = |world: &World, name: &str| bytes(&world.manager.kernel(&seed(name)).unwrap());
    for number in 1..=20 {
        if number == 11 {
            world.act("seed-1", Act::Graft(20)).unwrap();
        }
        let before = ["seed-1", "seed-2"].map(|name| weights(&world, name));
        let lesson = teach(&mut distillation, number);
        let report = train(&mut world, &mut model, &mut optimizer, &lesson, number);
        let stages = ["seed-1", "seed-2"].map(|name| world.stage(name));
        let expected = if number < 11 { SeedStageTraining } else { SeedStageBlending };
        assert_eq!(stages, [expected, SeedStageTraining], "step {number}");
        for (name, before) in ["seed-1", "seed-2"].iter().zip(before) {
            assert!(weights(&world, name) != before, "step {number}: {name} learned nothing");
        }
        assert_eq!(report.violations, []);

        let logits = control.host.logits(batch(number), &mut Grafts::none());
        let loss = lesson.loss(logits.clone(), task(logits));
        let gradients = GradientsParams::from_grads(loss.backward(), &control);
        control = its_optimizer.step(RATE, control, gradients);
        assert!(bytes(&model) == bytes(&control), "step {number} left a trace");
    }
    assert!(bytes(&model) != start, "the host has learned, too");
    assert!(distillation.stats().taught == 21 && distillation.stats().untaught == 0);
}

#[test]
fn batch_without_an_answer_is_trained_as_if_there_were_no_teacher() {
    let mut world = world();
    let mut distillation = distillation(&world, DistillSettings::default());
    let mut model = model();
    let mut plain = Grown::new(Network::<B>::from_inner(model.host.valid()));
    let (mut one, mut other) = (optimizer(), optimizer());
    let lesson = spoil(&mut distillation, 1);
    train(&mut world, &mut model, &mut one, &lesson, 1);
    let gradients =
        GradientsParams::from_grads(task(plain.host.logits(batch(1), &mut Grafts::none())).backward(), &plain);
    plain = other.step(RATE, plain, gradients);
    assert!(bytes(&model) == bytes(&plain));
    distillation.take_events().into_iter().for_each(|event| world.manager.emit(event));
    let events = world.events();
    let skipped = named(&events, "distillation_skipped");
    assert_eq!(skipped[0].attributes["reason"], "teacher_not_finite");
}

#[test]
fn gradient_on_a_parameter_of_the_teacher_is_taken_out_of_the_step_and_reported() {
    let mut world = world();
    let mut distillation = distillation(&world, DistillSettings::default());
    let (mut model, mut optimizer) = (model(), optimizer());
    // The model contains a part of the teacher: its head.
    let head = model.host.head.clone();
    world.manager.register_teacher([head.weight.id, head.bias.as_ref().unwrap().id]).unwrap();
    let lesson = teach(&mut distillation, 1);
    let refused = world.manager.attach_host(&model, loss(&lesson, 1)).unwrap_err();
    assert_eq!(refused.reason(), "teacher");

    let (before, stem) = (bytes(&model.host.head), bytes(&model.host.stem));
    for number in 1..4 {
        let report = train(&mut world, &mut model, &mut optimizer, &lesson, 1);
        let reasons: Vec<_> = report.withheld.iter().map(kasmina::registry::UpdateRefusal::reason).collect();
        assert_eq!(reasons, ["teacher", "teacher"], "step {number}");
    }
    assert!(bytes(&model.host.head) == before && bytes(&model.host.stem) != stem);
    let events = world.events();
    let told = named(&events, "parameter_violation");
    assert!(told.len() >= 6 && told.iter().all(|event| event.attributes["reason"] == "teacher"));
}

#[test]
fn teacher_that_shares_a_parameter_with_the_model_or_a_seed_is_not_registered() {
    let mut world = world();
    let mut distillation = distillation(&world, DistillSettings::default());
    let model = model();
    let lesson = teach(&mut distillation, 1);
    world.manager.attach_host(&model, loss(&lesson, 1)).unwrap();
    let own = Teacher::<Flex, _>::new(model.host.valid(), None);
    assert_eq!(world.manager.register_teacher(own.parameters()).unwrap_err().reason(), "cross_seed");
    assert_eq!(world.manager.drop_teacher(), 0);
    let other = distillation.teacher().unwrap();
    world.manager.register_teacher(other.parameters()).unwrap();
    assert_eq!(world.manager.drop_teacher(), 4);
}

#[test]
fn emergency_with_the_teacher_drops_it_and_what_is_reserved_and_training_goes_on() {
    let mut world = world();
    let mut model = model();
    let promised = world.manager.reserve_teacher(50_000).unwrap();
    let for_cache = world.manager.reserve_teacher(10_000).unwrap();
    let teacher = Teacher::new(Network::<Flex>::new(32), Some(promised));
    world.manager.register_teacher(teacher.parameters()).unwrap();
    let clock = Arc::new(world.clock.clone());
    let distillation: Taught = Distillation::new(DistillSettings::default(), teacher, clock).unwrap();
    let mut distillation = distillation.reserving_cache(for_cache);
    let held = |world: &World| world.manager.memory().pools[Pool::Teacher].held.bytes;
    assert_eq!(held(&world), 60_000);
    let lesson = teach(&mut distillation, 1);
    assert_eq!(bits(lesson.logits().unwrap()).len(), 36);

    world.manager.order(Order::Emergency { include_teacher: false }).unwrap();
    assert!(!distillation.tend() && held(&world) == 60_000);
    world.manager.order(Order::Emergency { include_teacher: true }).unwrap();
    assert_eq!(world.manager.drop_teacher(), 0, "its parameters are forgotten");
    assert_eq!(held(&world), 60_000, "until its owner gives it back");
    let lesson = teach(&mut distillation, 1);
    assert_eq!(lesson.untaught().map(kasmina_distill::DistillError::reason), Some("no_teacher"));
    assert!(distillation.teacher().is_none() && held(&world) == 0);
    let events = world.events();
    let dropped = named(&events, "teacher_dropped");
    assert_eq!((&*dropped[0].attributes["parameters"], &*dropped[0].attributes["bytes"]), ("4", "60000"));
    train(&mut world, &mut model, &mut optimizer(), &lesson, 1);
    assert!(world.manager.reserve_teacher(1).is_ok_and(|new| !new.is_withdrawn()), "another may come");
}

#[test]
fn reset_of_the_manager_drops_the_teacher() {
    let mut world = world();
    let promised = world.manager.reserve_teacher(50_000).unwrap();
    let teacher = Teacher::new(Network::<Flex>::new(32), Some(promised));
    world.manager.register_teacher(teacher.parameters()).unwrap();
    let clock = Arc::new(world.clock.clone());
    let mut distillation: Taught = Distillation::new(DistillSettings::default(), teacher, clock).unwrap();
    assert_eq!(world.manager.reset().unwrap().teacher, 4);
    assert!(distillation.tend());
    assert_eq!(world.manager.memory().pools[Pool::Teacher].held.bytes, 0);
    assert_eq!(model().host.num_params(), Network::<Flex>::new(6).num_params());
}
