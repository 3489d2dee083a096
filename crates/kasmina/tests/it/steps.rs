//! Steps in parts, and loops that a trainer writes with them.

use burn::{
    lr_scheduler::{LrScheduler, linear::LinearLrSchedulerConfig},
    module::AutodiffModule,
    optim::{AdamWConfig, GradientsParams, Optimizer, SgdConfig, momentum::MomentumConfig},
    tensor::Tensor,
};
use kasmina::{
    Grafts, Grown, Settings, StepError,
    doubles::{Act::*, Trainee},
    grown::clip_by_global_norm,
    isolation::{PassKind, gradient_norm},
    leyline::v1::SeedLifecycleStage::*,
};

use crate::common::{
    B, Host, Mlp, RATE, World, batch, bytes, determined, lenient, loss, model_of, optimizer, seed, twin,
};

type Model = Grown<B, Mlp<B>>;

/// A run with a fossil, and with a seed in BLENDING, after so many steps.
fn with_a_fossil_and_a_seed() -> (World, Trainee<Mlp<B>>) {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    let script = [(1, Germinate), (14, Graft(5)), (20, Stabilize), (25, Evaluate), (40, Fossilize)];
    world.live(&mut trainee, 40, &script);
    let script = [(41, "seed-2", Germinate), (60, "seed-2", Graft(50))];
    world.live(&mut trainee, 70, &script);
    assert_eq!((trainee.model.fossils().len(), world.stage("seed-2")), (1, SeedStageBlending));
    (world, trainee)
}

/// The loss on the first or the second half of the batch of a step; on all of it for `None`.
fn half(host: &Mlp<B>, step: u64, which: Option<usize>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    let rows = which.map_or(0..12, |half| half * 6..half * 6 + 6);
    let x = batch::<B>(step).slice([rows]);
    (host.forward(x.clone(), grafts) - x.sin().sum_dim(1)).square().mean()
}

#[test]
fn step_in_parts_is_a_batch_bit_for_bit() {
    let (mut whole, mut one) = with_a_fossil_and_a_seed();
    let (mut parts, mut other) = with_a_fossil_and_a_seed();
    for step in 71..=80 {
        let report = whole.step(&mut one.model, &mut one.optimizer, step);
        let mut taken = parts.manager.begin_step(&mut other.model).unwrap();
        let value = taken.run(&other.model, |host, grafts| loss(host, step, grafts)).unwrap();
        let gradients = taken.gradients(&other.model).unwrap();
        other.model = other.optimizer.step(RATE, other.model, gradients);
        let finished = taken.finish(&mut other.model).unwrap();
        assert_eq!((finished.step, finished.loss.to_bits(), value), (report.step, report.loss.to_bits(), report.loss));
        assert!(bytes(&one.model) == bytes(&other.model), "step {step}");
    }
    let weights = |world: &World| bytes(&world.manager.kernel(&seed("seed-2")).unwrap());
    assert!(weights(&whole) == weights(&parts));
}

#[test]
fn accumulated_gradients_are_those_of_the_batches_together() {
    let (mut together, mut one) = with_a_fossil_and_a_seed();
    let (mut apart, mut other) = with_a_fossil_and_a_seed();
    let alpha = |world: &World| world.manager.alpha(&seed("seed-2")).unwrap().get();
    let before = alpha(&apart);
    let mut whole = together.manager.begin_step(&mut one.model).unwrap();
    whole.run(&one.model, |host, grafts| half(host, 7, None, grafts)).unwrap();
    let expected = whole.gradients(&one.model).unwrap();
    let mut step = apart.manager.begin_step(&mut other.model).unwrap();
    let losses = [0, 1].map(|which| step.run(&other.model, |host, grafts| half(host, 7, Some(which), grafts)).unwrap());
    let mean = step.gradients(&other.model).unwrap();
    let (length, difference) = distance((&one.model, &expected), (&other.model, &mean));
    assert!(length > 0.0 && difference < 1e-5 * length, "{difference} of {length}");
    one.model = one.optimizer.step(RATE, one.model, expected);
    other.model = other.optimizer.step(RATE, other.model, mean);
    let (together_report, report) = (whole.finish(&mut one.model).unwrap(), step.finish(&mut other.model).unwrap());
    assert!((report.loss - (losses[0] + losses[1]) / 2.0).abs() < 1e-6);
    assert!((report.loss - together_report.loss).abs() < 1e-5);
    // One step: alpha has advanced once, and one step was counted.
    assert_eq!((alpha(&apart), apart.manager.step()), (alpha(&together), 71));
    assert!(alpha(&apart) > before);
    let kernels = [&together, &apart].map(|world| world.manager.kernel(&seed("seed-2")).unwrap());
    let norms = kernels.map(|kernel| bytes(&kernel));
    let far = norms[0].chunks_exact(4).zip(norms[1].chunks_exact(4)).map(|(one, other)| {
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        (number(one) - number(other)).abs()
    });
    // AdamW divides by the gradient's own size, so that rounding shows in weights whose gradient is next to nothing.
    assert!(far.fold(0.0, f32::max) < 2.1e-3, "the seed learned from the mean, too");
}

/// The length of one set of gradients, and of what another, of a model of the same structure, differs by.
fn distance(one: (&Model, &GradientsParams), other: (&Model, &GradientsParams)) -> (f32, f32) {
    use burn::module::{Module, ModuleVisitor, Param};
    struct Numbers<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor<B> for Numbers<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient = self.0.get::<burn::backend::Flex, D>(param.id).unwrap();
            self.1.extend(gradient.into_data().iter::<f32>());
        }
    }
    let numbers = |(model, gradients): (&Model, &GradientsParams)| {
        let mut numbers = Numbers(gradients, Vec::new());
        model.visit(&mut numbers);
        numbers.1
    };
    let (one, other) = (numbers(one), numbers(other));
    assert_eq!(one.len(), other.len());
    let difference: f32 = one.iter().zip(&other).map(|(one, other)| (one - other).powi(2)).sum();
    (one.iter().map(|number| number.powi(2)).sum::<f32>().sqrt(), difference.sqrt())
}

#[test]
fn accumulating_run_has_the_host_of_a_run_without_seeds() {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    let (mut control, mut its_optimizer) = (twin(&trainee.model), optimizer());
    let mut alone = World::new(Settings::default());
    for at in 1..=60 {
        match at {
            1 => drop(world.act("seed-1", Germinate).unwrap()),
            14 => drop(world.act("seed-1", Graft(10)).unwrap()),
            28 => drop(world.act("seed-1", Stabilize).unwrap()),
            40 => drop(world.act("seed-1", Evaluate).unwrap()),
            _ => {}
        }
        let pair = |world: &mut World, model: &mut Model, optimizer: &mut _| accumulate(world, model, optimizer, at);
        pair(&mut world, &mut trainee.model, &mut trainee.optimizer);
        pair(&mut alone, &mut control, &mut its_optimizer);
        assert!(bytes(&trainee.model) == bytes(&control), "step {at}");
    }
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
}

fn accumulate(world: &mut World, model: &mut Model, optimizer: &mut impl Optimizer<Model, B>, at: u64) {
    let mut step = world.manager.begin_step(model).unwrap();
    for micro in [2 * at, 2 * at + 1] {
        step.run(model, |host, grafts| loss(host, micro, grafts)).unwrap();
    }
    let gradients = step.gradients(model).unwrap();
    *model = optimizer.step(RATE, model.clone(), gradients);
    step.finish(model).unwrap();
}

#[test]
fn run_that_fails_counts_for_nothing_and_the_step_goes_on() {
    let (mut world, mut trainee) = with_a_fossil_and_a_seed();
    let before = bytes(&trainee.model);
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    let nan = step.run(&trainee.model, |host, grafts| loss(host, 71, grafts) * f32::NAN).unwrap_err();
    assert!(matches!(nan, StepError::NonFiniteLoss { step: 71, .. }));
    assert!(step.gradients(&trainee.model).unwrap().is_empty() && bytes(&trainee.model) == before);
    assert_eq!(step.finish(&mut trainee.model).unwrap_err(), StepError::NothingRun);
    assert_eq!(world.manager.step(), 70);

    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    let good = step.run(&trainee.model, |host, grafts| loss(host, 71, grafts)).unwrap();
    assert!(step.run(&trainee.model, |host, grafts| loss(host, 72, grafts) * f32::NAN).is_err());
    let report = step.finish(&mut trainee.model).unwrap();
    assert_eq!((report.loss, world.manager.step()), (good, 71));
}

#[test]
fn step_that_is_dropped_is_not_taken() {
    let (mut world, mut trainee) = with_a_fossil_and_a_seed();
    let weights = |world: &World| bytes(&world.manager.kernel(&seed("seed-2")).unwrap());
    let before = (world.manager.step(), bytes(&trainee.model), weights(&world));
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    step.run(&trainee.model, |host, grafts| loss(host, 71, grafts)).unwrap();
    drop(step);
    assert!((world.manager.step(), bytes(&trainee.model), weights(&world)) == before);
    world.step(&mut trainee.model, &mut trainee.optimizer, 71);
    assert_eq!(world.manager.step(), 71);
}

#[test]
fn global_norm_clips_host_and_fossils_and_no_seed() {
    let (mut world, mut trainee) = with_a_fossil_and_a_seed();
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    step.run(&trainee.model, |host, grafts| loss(host, 71, grafts)).unwrap();
    let mut gradients = step.gradients(&trainee.model).unwrap();
    let fossil = gradient_norm(trainee.model.fossils()[0].kernel(), &gradients);
    assert!(fossil > 0.0, "the fossil's gradients are among them");
    let norm = clip_by_global_norm(&trainee.model, &mut gradients, 0.1);
    assert!(norm > 0.1 && (gradient_norm(&trainee.model, &gradients) - 0.1).abs() < 1e-5);
    assert!((gradient_norm(trainee.model.fossils()[0].kernel(), &gradients) - fossil * 0.1 / norm).abs() < 1e-5);
    let inside: Vec<_> = kasmina::registry::parameter_ids(&trainee.model);
    assert_eq!(gradients.len(), inside.len(), "no seed's are");
    trainee.model = trainee.optimizer.step(RATE, trainee.model, gradients);
    step.finish(&mut trainee.model).unwrap();
}

#[test]
fn own_optimizer_and_schedule_train_host_and_fossils() {
    let (mut world, Trainee { mut model, .. }) = with_a_fossil_and_a_seed();
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    let mut schedule = LinearLrSchedulerConfig::new(0.01, 1e-4, 20).init().unwrap();
    let start = 0.01;
    let (mut rates, kernel) = (Vec::new(), bytes(model.fossils()[0].kernel()));
    for step in 71..=90 {
        let rate = schedule.step();
        world.manager.scale_learning_rates(rate / start).unwrap();
        world.manager.train_batch(&mut model, &mut optimizer, rate, |host, grafts| loss(host, step, grafts)).unwrap();
        rates.push(world.manager.state().seeds[&seed("seed-2")].stage.graft().unwrap().vitals.learning_rate);
    }
    assert!(bytes(model.fossils()[0].kernel()) != kernel);
    assert!(rates[19] < 0.2 * rates[0], "seeds follow the schedule: {rates:?}");
}

#[test]
fn two_optimizers_share_one_model() {
    let (mut world, mut trainee) = with_a_fossil_and_a_seed();
    let (mut for_host, mut for_fossils) = (SgdConfig::new().init(), AdamWConfig::new().init());
    let before = trainee.model.clone();
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    step.run(&trainee.model, |host, grafts| loss(host, 71, grafts)).unwrap();
    let mut gradients = step.gradients(&trainee.model).unwrap();
    // What belongs to the fossils is taken out, and each optimizer gets its share.
    let ids = kasmina::registry::parameter_ids(trainee.model.fossils()[0].kernel());
    let mut of_fossils = GradientsParams::new();
    for id in ids {
        if let Some(gradient) = gradients.remove::<burn::backend::Flex, 2>(id) {
            of_fossils.register::<burn::backend::Flex, 2>(id, gradient);
        }
    }
    assert!(!of_fossils.is_empty() && !gradients.is_empty());
    trainee.model = for_host.step(0.05, trainee.model, gradients);
    trainee.model = for_fossils.step(1e-3, trainee.model, of_fossils);
    step.finish(&mut trainee.model).unwrap();
    let parts = |model: &Model| (bytes(&model.host), bytes(model.fossils()[0].kernel()));
    let (was, is) = (parts(&before), parts(&trainee.model));
    assert!(was.0 != is.0 && was.1 != is.1);
}

#[test]
fn metric_in_the_closure_counts_each_batch_once() {
    let (mut world, mut trainee) = with_a_fossil_and_a_seed();
    let (counted, called) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    for step in 71..=80 {
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
            called.set(called.get() + 1);
            if grafts.pass() == PassKind::Host {
                counted.set(counted.get() + 1);
            }
            loss(host, step, grafts)
        };
        world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward).unwrap();
    }
    assert_eq!(counted.get(), 10);
    assert!(called.get() > 20);
}

#[test]
fn probe_that_is_asked_for_counts_as_evidence() {
    let (mut world, trainee) = with_a_fossil_and_a_seed();
    let probes = |world: &World| {
        let stage = &world.manager.state().seeds[&seed("seed-2")].stage;
        let kasmina::engine::Stage::Blending(_, blend) = stage else { panic!("{stage:?}") };
        blend.contribution.probes()
    };
    let (before, model) = (probes(&world), bytes(&trainee.model));
    let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| loss(host, 500, grafts);
    let probed = world.manager.run_probe(&trainee.model, &seed("seed-2"), forward).unwrap().unwrap();
    let committed = loss(&trainee.model.valid(), 500, &mut trainee.model.valid().grafts()).into_scalar();
    assert_eq!(probed.without.to_bits(), committed.to_bits());
    assert_ne!(probed.with, probed.without);
    assert_eq!((probes(&world), bytes(&trainee.model) == model), (before + 1, true));
    for nobody in ["seed-3", "nobody"] {
        assert_eq!(world.manager.run_probe(&trainee.model, &seed(nobody), forward), Ok(None));
    }
}

#[test]
fn trainer_with_passes_of_its_own_advances_alpha() {
    let (mut world, _) = with_a_fossil_and_a_seed();
    let alpha = |world: &World| world.manager.alpha(&seed("seed-2")).unwrap().get();
    let before = alpha(&world);
    world.manager.advance_alpha();
    assert!((alpha(&world) - before - 0.02).abs() < 1e-6, "one batch of fifty");
}

#[test]
fn frozen_run_without_an_optimizer_trains_the_seeds_alone() {
    let mut world = World::new(Settings::default());
    let mut model = model_of(Mlp::<B>::init());
    world.attach(&model);
    world.act("seed-1", Germinate).unwrap();
    let weights = |world: &World| bytes(&world.manager.kernel(&seed("seed-1")).unwrap());
    let before = (bytes(&model), weights(&world));
    let mut step = world.manager.begin_step(&mut model).unwrap();
    step.run(&model, |host, grafts| loss(host, 1, grafts)).unwrap();
    step.finish(&mut model).unwrap();
    assert!(bytes(&model) == before.0 && weights(&world) != before.1);
}
