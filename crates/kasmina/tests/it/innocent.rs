//! What is not a seed's fault neither culls it nor holds it up for ever.

use std::time::Duration;

use burn::{module::Module, tensor::Tensor};
use kasmina::{
    Grafts, Settings, StepError, StepReport,
    doubles::{Act, Trainee},
    isolation::PassKind,
    leyline::v1::{SeedLifecycleStage::*, SeedOperation::*},
};

use crate::common::{B, Mlp, RATE, World, determined, lenient, loss, seed, spoilt};

type Host = Trainee<Mlp<B>>;

/// A step on a forward of one's own.
fn step_on(
    world: &mut World,
    trainee: &mut Host,
    forward: impl Fn(&Mlp<B>, &mut Grafts<B>) -> Tensor<B, 1>,
) -> Result<StepReport, StepError> {
    trainee.step += 1;
    world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward)
}

fn begin(host: Mlp<B>) -> (World, Host) {
    let (mut world, trainee) = (World::new(Settings::default()), Trainee::new(host));
    world.attach(&trainee.model);
    (world, trainee)
}

#[test]
fn batch_past_the_slot_does_not_make_a_pause_unproven() {
    let (mut world, mut trainee) = begin(determined(Mlp::init()));
    world.live(&mut trainee, 23, &[(1, Act::Germinate), (21, Act::Graft(4))]);
    // Alpha is 1 with this batch, and it does not come to the slot.
    step_on(&mut world, &mut trainee, |host, _| loss(host, 24, &mut Grafts::none())).unwrap();
    assert_eq!(world.manager.alpha(&seed("seed-1")).unwrap().get(), 1.0);
    world.live::<_, (u64, Act)>(&mut trainee, 40, &[]);
    let outcome = world.operate("seed-1", SeedOpStabilize);
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn host_without_gradients_does_not_hold_up_grafting() {
    let (mut world, mut trainee) = begin(determined(Mlp::init()).no_grad());
    world.live(&mut trainee, 20, &[(1, Act::Germinate)]);
    let outcome = world.act("seed-1", Act::Graft(10));
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// As with a dropout mask, which the passes of seeds draw anew.
#[test]
fn loss_that_is_nan_without_seeds_too_culls_nobody() {
    let (mut world, mut trainee) = begin(determined(Mlp::init()));
    world.live(&mut trainee, 25, &[(1, Act::Germinate), (21, Act::Graft(20))]);
    let outcome = step_on(&mut world, &mut trainee, |host, grafts| {
        let factor = if grafts.pass() == PassKind::Host { 1.0 } else { f32::NAN };
        loss(host, 26, grafts) * factor
    });
    assert!(outcome.is_ok());
    assert_eq!(world.stage("seed-1"), SeedStageBlending);
    world.live::<_, (u64, Act)>(&mut trainee, 50, &[]);
    assert_eq!(world.stage("seed-1"), SeedStageBlending);
}

#[test]
fn loss_known_from_the_learning_pass_takes_no_time() {
    let mut settings = Settings::default();
    settings.training.probe_every = 1;
    let mut world = World::with_clock(settings, kasmina::safety::SystemClock::default(), |builder| {
        builder.volatile().build(&Default::default()).unwrap()
    });
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.live(&mut trainee, 40, &[(1, Act::Germinate), (21, Act::Graft(100))]);
    let state = world.manager.state().seeds[&seed("seed-1")].clone();
    let times = format!("{:?}", state.stage.graft().unwrap().vitals.blend_latency);
    assert!(!times.contains(&format!("{:?}", Duration::ZERO)), "{times}");
}

/// As after a gradient that is not finite in the one pass in which both were fine-tuned.
#[test]
fn two_probationary_seeds_that_are_nan_do_not_stay() {
    let mut trainee = Trainee::new(determined(Mlp::init()));
    let mut world = World::new(lenient());
    world.attach(&trainee.model);
    let mut script = Vec::new();
    for name in ["seed-1", "seed-2"] {
        script.extend([(1, name, Act::Germinate), (21, name, Act::Graft(10)), (41, name, Act::Stabilize)]);
        script.push((61, name, Act::Evaluate));
    }
    world.live(&mut trainee, 61, &script);
    for name in ["seed-1", "seed-2"] {
        assert_eq!(world.stage(name), SeedStageProbationary);
        assert!(world.manager.tamper(&seed(name), spoilt));
    }
    world.live::<_, (u64, Act)>(&mut trainee, 100, &[]);
    assert_eq!(["seed-1", "seed-2"].map(|name| world.stage(name)), [SeedStageEmbargoed; 2]);
}
