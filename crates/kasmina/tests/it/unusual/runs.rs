//! Steps in parts that a trainer uses in ways of its own.

use std::time::Duration;

use burn::{
    module::{Module, Param},
    optim::{GradientsParams, Optimizer},
    tensor::{Distribution, Tensor, TensorData, activation::relu, backend::Backend},
};
use kasmina::{
    Grafts, Grown,
    doubles::{Act::*, Trainee},
    grown::clip_by_global_norm,
    isolation::{gradient_norm, scale_gradients},
    leyline::{Monotonic, UnixTime, v1::SeedLifecycleStage::*},
    rollback::doubles::MemoryStore,
    safety::{Clock, doubles::ManualClock},
};

use super::{Model, NOTHING, on, proven, with_running_statistics};
use crate::common::{
    B, Host, Mlp, RATE, World, alone, batch, bytes, determined, lenient, loss, model_of, optimizer, seed, twin,
};

#[test]
fn draws_between_runs_do_not_depend_on_the_seeds() {
    if !alone("unusual::runs::draws_between_runs_do_not_depend_on_the_seeds") {
        return;
    }
    let mut settings = lenient();
    settings.training.rng_seed = Some(7);
    let (mut world, mut alone) = (World::new(settings.clone()), World::new(settings));
    let mut trainee = Trainee::new(determined(Mlp::init()));
    let (mut control, mut its_optimizer) = (twin(&trainee.model), optimizer());
    world.attach(&trainee.model);
    alone.attach(&control);
    let mut seen = Vec::new();
    for at in 1..=20 {
        match at {
            1 => drop(world.act("seed-1", Germinate).unwrap()),
            14 => drop(world.act("seed-1", Graft(5)).unwrap()),
            _ => {}
        }
        B::seed(&Default::default(), at);
        let drawn = accumulate_drawn(&mut world, &mut trainee.model, &mut trainee.optimizer);
        B::seed(&Default::default(), at);
        let expected = accumulate_drawn(&mut alone, &mut control, &mut its_optimizer);
        assert_eq!(drawn, expected, "step {at}");
        assert!(bytes(&trainee.model) == bytes(&control), "step {at}");
        seen.extend(drawn);
    }
    let draws = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), draws, "no batch comes twice");
}

/// A step of two batches that the trainer draws when it needs them. Returns a number out of each, and one drawn after the gradients.
fn accumulate_drawn(world: &mut World, model: &mut Model, optimizer: &mut impl Optimizer<Model, B>) -> Vec<u32> {
    let mut step = world.manager.begin_step(model).unwrap();
    let draw = || Tensor::<B, 2>::random([12, 16], Distribution::Uniform(-1.0, 1.0), &Default::default());
    let told = |drawn: &Tensor<B, 2>| drawn.clone().into_data().iter::<f32>().next().unwrap().to_bits();
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let x = draw();
        drawn.push(told(&x));
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
            (host.forward(x.clone(), grafts) - x.clone().sin().sum_dim(1)).square().mean()
        };
        step.run(model, forward).unwrap();
    }
    let gradients = step.gradients(model).unwrap();
    drawn.push(told(&draw()));
    *model = optimizer.step(RATE, model.clone(), gradients);
    step.finish(model).unwrap();
    drawn
}

/// Two layers that share their weights.
#[derive(Module, Debug)]
struct Tied<B: Backend> {
    one: Param<Tensor<B, 2>>,
    other: Param<Tensor<B, 2>>,
}

#[test]
fn tied_parameter_is_scaled_and_counted_once() {
    let weight = Param::from_tensor(Tensor::<B, 2>::from_data(TensorData::from([[3.0_f32, 4.0]]), &Default::default()));
    let module = Tied { one: weight.clone(), other: weight.clone() };
    let of_module = || {
        let mut gradients = GradientsParams::new();
        gradients.register::<burn::backend::Flex, 2>(weight.id, weight.val().inner());
        gradients
    };
    let numbers = |gradients: &GradientsParams| {
        gradients.get::<burn::backend::Flex, 2>(weight.id).unwrap().into_data().to_vec::<f32>().unwrap()
    };
    let mut gradients = of_module();
    scale_gradients(&module, &mut gradients, 0.5);
    assert_eq!(numbers(&gradients), [1.5, 2.0]);
    let mut gradients = of_module();
    assert!((gradient_norm(&module, &gradients) - 5.0).abs() < 1e-5);
    clip_by_global_norm(&module, &mut gradients, 1.0);
    assert!((numbers(&gradients)[0] - 0.6).abs() < 1e-5, "{:?}", numbers(&gradients));
}

#[test]
fn gradients_asked_for_too_early_leave_the_mean_as_it_is() {
    let norm = |early: bool| {
        let mut world = World::new(lenient());
        let mut model = model_of(determined(Mlp::init()));
        world.attach(&model);
        let mut step = world.manager.begin_step(&mut model).unwrap();
        if early {
            assert!(step.gradients(&model).unwrap().is_empty());
        }
        for _ in 0..2 {
            step.run(&model, |host, grafts| loss(host, 1, grafts)).unwrap();
        }
        let gradients = step.gradients(&model).unwrap();
        gradient_norm(&model, &gradients)
    };
    assert_eq!(norm(true).to_bits(), norm(false).to_bits());
}

#[test]
fn run_after_the_gradients_is_refused() {
    let mut world = World::new(lenient());
    let mut model = model_of(determined(Mlp::init()));
    world.attach(&model);
    let mut step = world.manager.begin_step(&mut model).unwrap();
    step.run(&model, |host, grafts| loss(host, 1, grafts)).unwrap();
    assert!(!step.gradients(&model).unwrap().is_empty());
    let again = step.run(&model, |host, grafts| loss(host, 2, grafts));
    assert_eq!(again.map_err(|error| error.reason()), Err("gradients_taken"));
}

#[test]
fn join_before_a_refused_batch_is_reported_later() {
    let mut world = on(&MemoryStore::new());
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    let nan = |host: &Mlp<B>, grafts: &mut Grafts<B>| loss(host, 40, grafts) * f32::NAN;
    world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, nan).unwrap_err();
    assert_eq!(trainee.model.fossils().len(), 1);
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, 40);
    assert_eq!(report.joined, [seed("seed-1")]);
}

#[test]
fn seed_is_reported_once_in_a_step_of_several_runs() {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.live(&mut trainee, 15, &[(1, Germinate), (14, Graft(50))]);
    let losses =
        |world: &World| world.manager.state().seeds[&seed("seed-1")].stage.graft().unwrap().vitals.losses.len();
    let before = losses(&world);
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    for micro in 0..4 {
        step.run(&trainee.model, |host, grafts| loss(host, 100 + micro, grafts)).unwrap();
    }
    let report = step.finish(&mut trainee.model).unwrap();
    assert_eq!(report.seeds.iter().filter(|step| step.seed == seed("seed-1")).count(), 1);
    assert_eq!(losses(&world), before + 1, "one loss for G2 to judge by");
}

#[test]
fn seed_that_learns_in_one_run_of_two_is_not_idle() {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.act("seed-1", Germinate).unwrap();
    for at in 1..=20 {
        let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
        step.run(&trainee.model, |host, grafts| loss(host, at, grafts)).unwrap();
        // These batches do not come to its slot.
        let past = |host: &Mlp<B>, _: &mut Grafts<B>| {
            let x = batch::<B>(at);
            (host.head.forward(relu(host.stem.forward(x.clone()))) - x.sin().sum_dim(1)).square().mean()
        };
        step.run(&trainee.model, past).unwrap();
        step.finish(&mut trainee.model).unwrap();
    }
    world.act("seed-1", Graft(5)).unwrap();
}

/// Advances with every reading.
#[derive(Clone)]
struct Ticking(ManualClock);

impl Clock for Ticking {
    fn monotonic(&self) -> Monotonic {
        self.0.advance(Duration::from_micros(1));
        self.0.monotonic()
    }

    fn unix(&self) -> UnixTime {
        self.0.unix()
    }
}

#[test]
fn time_of_verification_is_that_of_one_run() {
    let latency = |runs: u64| {
        let clock = Ticking(ManualClock::default());
        clock.0.set_unix(UnixTime::from_millis(1_700_000_000_000));
        let mut world =
            World::with_clock(lenient(), clock, |builder| builder.volatile().build(&Default::default()).unwrap());
        let mut model = model_of(determined(Mlp::init()));
        world.attach(&model);
        world.act("seed-1", Germinate).unwrap();
        let mut step = world.manager.begin_step(&mut model).unwrap();
        for run in 0..runs {
            step.run(&model, |host, grafts| loss(host, run, grafts)).unwrap();
        }
        step.finish(&mut model).unwrap();
        world.manager.state().seeds[&seed("seed-1")].stage.graft().unwrap().vitals.verify_latency.median()
    };
    assert!(latency(1) > Duration::ZERO);
    assert_eq!(latency(8), latency(1));
}

#[test]
fn run_that_fails_leaves_the_statistics_of_the_run_before() {
    let mut world = World::new(lenient());
    let mut trainee = with_running_statistics(&mut world);
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    step.run(&trainee.model, |host, grafts| loss(host, 46, grafts)).unwrap();
    let before = bytes(&trainee.model);
    step.run(&trainee.model, |host, grafts| loss(host, 47, grafts) * f32::NAN).unwrap_err();
    assert!(bytes(&trainee.model) == before);
    step.run(&trainee.model, |host, grafts| loss(host, 47, grafts)).unwrap();
    assert!(bytes(&trainee.model) != before);
    step.finish(&mut trainee.model).unwrap();
}

#[test]
fn step_finished_with_another_model_grows_nothing() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    world.live(&mut trainee, 40, &NOTHING);
    world.live(
        &mut trainee,
        80,
        &[(41, "seed-2", Germinate), (54, "seed-2", Graft(5)), (60, "seed-2", Stabilize), (65, "seed-2", Evaluate)],
    );
    world.act("seed-2", Fossilize).unwrap();
    store.refuse_with(Some(kasmina::rollback::StoreError::NotWired { what: "disk" }));
    let mut step = world.manager.begin_step(&mut trainee.model).unwrap();
    step.run(&trainee.model, |host, grafts| loss(host, 81, grafts)).unwrap();
    store.refuse_with(None);
    let mut bare: Model = Grown::new(trainee.model.host.clone());
    let _ = step.finish(&mut bare);
    assert_eq!((bare.fossils().len(), world.stage("seed-2")), (0, SeedStageProbationary));
}
