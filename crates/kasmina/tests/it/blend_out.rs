//! CULL with `blend_out_steps`: alpha falls, the kernel stands still, and nothing of the seed is left.

use crate::common::{B, Mlp, World, batch, bytes, control_step, determined, lenient, named, seed, weights};
use burn::module::AutodiffModule;
use kasmina::{
    Grafts, Settings,
    doubles::{Act, Act::*, Host, Trainee},
    leyline::v1::SeedLifecycleStage::{self, *},
    rollback::doubles::MemoryStore,
};

/// The last step before the seed is told to leave.
const GROWN: u64 = 60;

/// `seed-1` in one of the stages in which it can be blended out, and the host without it.
fn grown(mut world: World, stage: SeedLifecycleStage) -> (World, Trainee<Mlp<B>>, Trainee<Mlp<B>>) {
    let (mut trainee, mut control) = (Trainee::new(determined(Mlp::init())), Trainee::new(determined(Mlp::init())));
    world.attach(&trainee.model);
    let script = if stage == SeedStageBlending {
        vec![(1, Germinate), (31, Graft(40))]
    } else {
        vec![(1, Germinate), (11, Graft(10)), (23, Stabilize), (41, Evaluate)]
    };
    go_on(&mut world, &mut trainee, &mut control, GROWN, &script);
    assert_eq!(world.stage("seed-1"), stage);
    (world, trainee, control)
}

/// Trains the host, and beside it one that has never heard of seeds: their bytes are the same after every step. Gives the alphas.
fn go_on(
    world: &mut World,
    trainee: &mut Trainee<Mlp<B>>,
    control: &mut Trainee<Mlp<B>>,
    until: u64,
    script: &[(u64, Act)],
) -> Vec<Option<f32>> {
    let mut alphas = Vec::new();
    world.live_and(trainee, until, script, |world, trainee, _| {
        // After a kill, the manager counts on from what it finds in the store.
        control_step(&mut control.model, &mut control.optimizer, trainee.step);
        assert!(bytes(&trainee.model) == bytes(&control.model), "step {} left a trace", trainee.step);
        alphas.push(alpha(world));
    });
    alphas
}

fn alpha(world: &World) -> Option<f32> {
    world.manager.alpha(&seed("seed-1")).map(|alpha| alpha.get())
}

fn live(world: &World, host: &kasmina::Grown<B, Mlp<B>>) -> Vec<u8> {
    let out = host.valid().host.forward(batch(3), &mut world.manager.live_view(host));
    out.into_data().as_bytes().to_vec()
}

fn bare(host: &kasmina::Grown<B, Mlp<B>>) -> Vec<u8> {
    host.valid().host.forward(batch(3), &mut Grafts::none()).into_data().as_bytes().to_vec()
}

#[test]
fn seed_that_is_blended_out_leaves_no_trace() {
    for stage in [SeedStageBlending, SeedStageProbationary] {
        let (mut world, mut trainee, mut control) = grown(World::new(lenient()), stage);
        let from = alpha(&world).unwrap();
        assert!(from > 0.5);
        world.events();
        world.act("seed-1", BlendOut(8)).unwrap();
        let kernel = weights(&world, "seed-1");
        assert_eq!(world.stage("seed-1"), stage);
        for left in (1..8).rev() {
            let step = trainee.step + 1;
            go_on(&mut world, &mut trainee, &mut control, step, &[]);
            assert_eq!(alpha(&world), Some((f64::from(from) * f64::from(left) / 8.0) as f32));
            assert!(weights(&world, "seed-1") == kernel, "it learned at step {step}");
            assert_eq!(world.stage("seed-1"), stage);
            assert!(live(&world, &trainee.model) != bare(&control.model), "step {step}");
        }
        let after = go_on(&mut world, &mut trainee, &mut control, GROWN + 12, &[]);
        assert_eq!(after, [None; 5]);
        assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
        assert!(live(&world, &trainee.model) == bare(&control.model), "what inference sees");
        assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
        let events = world.events();
        let began = named(&events, "blend_out");
        assert_eq!((began.len(), began[0].attributes["steps"].as_str()), (1, "8"));
        let culled = named(&events, "seed_culled");
        assert_eq!((culled.len(), culled[0].attributes["reason"].as_str()), (1, "blended_out"));
        world.wait(31);
        let step = trainee.step + 1;
        go_on(&mut world, &mut trainee, &mut control, step, &[]);
        assert_eq!(world.stage("seed-1"), SeedStageDormant);
    }
}

#[test]
fn second_cull_without_steps_culls_at_once() {
    for stage in [SeedStageBlending, SeedStageProbationary] {
        let (mut world, mut trainee, mut control) = grown(World::new(lenient()), stage);
        world.act("seed-1", BlendOut(100)).unwrap();
        go_on(&mut world, &mut trainee, &mut control, GROWN + 5, &[]);
        assert_eq!(world.stage("seed-1"), stage);
        world.act("seed-1", Cull).unwrap();
        assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
        assert!(live(&world, &trainee.model) == bare(&control.model));
        go_on(&mut world, &mut trainee, &mut control, GROWN + 10, &[]);
    }
}

/// What a process that was killed in the middle of the ramp does: the alphas from there, and the stage.
fn killed_in_the_middle(settings: Settings, stage: SeedLifecycleStage) -> (Option<f32>, Vec<Option<f32>>) {
    let store = MemoryStore::new();
    let world = World::recover(settings.clone(), store.clone(), store.clone()).0;
    let (mut world, mut trainee, mut control) = grown(world, stage);
    world.act("seed-1", BlendOut(8)).unwrap();
    go_on(&mut world, &mut trainee, &mut control, GROWN + 3, &[]);
    let kernel = weights(&world, "seed-1");
    let before = alpha(&world);
    world.restart(settings, &store);
    world.go_on(&trainee.model);
    assert_eq!(world.stage("seed-1"), stage);
    let found = weights(&world, "seed-1");
    assert!(found == kernel, "it left since its command, whose kernel is in the store");
    let mut alphas = vec![alpha(&world)];
    while world.stage("seed-1") == stage {
        assert!(weights(&world, "seed-1") == kernel);
        let step = trainee.step + 1;
        alphas.extend(go_on(&mut world, &mut trainee, &mut control, step, &[]));
    }
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert!(live(&world, &trainee.model) == bare(&control.model));
    (before, alphas)
}

#[test]
fn ramp_goes_on_after_a_kill_in_the_middle() {
    let mut settings = lenient();
    settings.rollback.checkpoint_every = 1;
    for stage in [SeedStageBlending, SeedStageProbationary] {
        let (before, alphas) = killed_in_the_middle(settings.clone(), stage);
        assert_eq!(alphas[0], before, "where it was");
        assert_eq!(alphas.len(), 6, "five steps of eight were left: {alphas:?}");
        assert!(alphas.is_sorted_by(|one, next| next < one), "{alphas:?}");
    }
}

/// Between records of the journal, steps of the ramp may be taken again; the order to leave is not lost.
#[test]
fn ramp_starts_again_if_its_steps_were_not_written() {
    let (_, alphas) = killed_in_the_middle(lenient(), SeedStageProbationary);
    assert!((6..=9).contains(&alphas.len()), "{alphas:?}");
    assert!(alphas.is_sorted_by(|one, next| next < one), "{alphas:?}");
}
