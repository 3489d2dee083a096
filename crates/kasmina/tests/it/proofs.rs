//! What the gates are shown is measured, and what is not the seed's fault postpones.

use crate::common::{B, Host, Mlp, RATE, World, determined, lenient, loss, named, refused, seed};
use kasmina::{
    Grafts,
    commands::{BreakerName, Order},
    doubles::{Act, Act::*, Trainee},
    leyline::v1::{
        CircuitBreakerState::{CircuitStateClosed, CircuitStateOpen},
        SeedLifecycleStage::{self, *},
    },
};

/// A life on the way to a gate. `seed-1` stands before it after 60 steps.
fn before_gate_of(act: &Act) -> (World, Trainee<Mlp<B>>, SeedLifecycleStage) {
    let life = [(1, Germinate), (11, Graft(10)), (22, Stabilize), (41, Evaluate), (61, Fossilize)];
    let at = life.iter().position(|(_, other)| std::mem::discriminant(other) == std::mem::discriminant(act)).unwrap();
    let (mut world, mut trainee) = (World::new(lenient()), Trainee::new(determined(Mlp::init())));
    world.attach(&trainee.model);
    world.live(&mut trainee, life[at].0 - 1, &life[..at]);
    let stage = world.stage("seed-1");
    (world, trainee, stage)
}

#[test]
fn stabilize_waits_until_a_step_has_measured_the_pause() {
    let (mut world, mut trainee) = (World::new(lenient()), Trainee::new(determined(Mlp::init())));
    world.attach(&trainee.model);
    world.live(&mut trainee, 19, &[(1, Germinate), (11, Graft(10))]);
    let mut step = |world: &mut World, visits: bool| {
        trainee.step += 1;
        let at = trainee.step;
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
            if visits { loss(host, at, grafts) } else { loss(host, at, &mut Grafts::none()) }
        };
        world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward).unwrap();
    };
    // Alpha is 1, but these batches do not come to the slot, so they prove nothing.
    for _ in 0..3 {
        step(&mut world, false);
        assert_eq!(world.manager.alpha(&seed("seed-1")).unwrap().get(), 1.0);
        assert_eq!(refused(world.act("seed-1", Stabilize)), "pause_not_measured");
        assert_eq!(world.stage("seed-1"), SeedStageBlending);
    }
    step(&mut world, true);
    world.act("seed-1", Stabilize).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageShadowing);
}

#[test]
fn fallback_kernel_is_refused_at_every_gate() {
    for act in [Graft(10), Stabilize, Evaluate, Fossilize] {
        let (mut world, ..) = before_gate_of(&act);
        assert!(world.manager.mark_as_fallback(&seed("seed-1")));
        assert_eq!(refused(world.act("seed-1", act.clone())), "fallback_used", "{act:?}");
        assert_eq!(world.stage("seed-1"), SeedStageEmbargoed, "{act:?}");
        // The same seed with its own kernel passes.
        let (mut world, ..) = before_gate_of(&act);
        world.act("seed-1", act).unwrap();
    }
}

#[test]
fn sink_that_is_down_postpones_stabilize() {
    let (mut world, mut trainee, _) = before_gate_of(&Stabilize);
    world.sink.set_down(true);
    world.live::<_, (u64, Act)>(&mut trainee, 22, &[]);
    for _ in 0..3 {
        assert_eq!(refused(world.act("seed-1", Stabilize)), "telemetry_incomplete");
        assert_eq!(world.stage("seed-1"), SeedStageBlending);
    }
    world.sink.set_down(false);
    let events = world.events();
    let postponed = named(&events, "gate_postponed");
    assert_eq!(postponed.len(), 1, "once, however often it was asked");
    assert_eq!(postponed[0].attributes["reason"], "telemetry_incomplete");
    assert!(named(&events, "seed_culled").is_empty());
    world.live::<_, (u64, Act)>(&mut trainee, 23, &[]);
    world.act("seed-1", Stabilize).unwrap();
}

#[test]
fn open_breaker_postpones_and_does_not_cull() {
    for act in [Graft(10), Evaluate, Fossilize] {
        let (mut world, mut trainee, stage) = before_gate_of(&act);
        let force = |world: &mut World, state| {
            let order = Order::CircuitBreaker { breaker: BreakerName::Blending, state };
            world.manager.order(order).unwrap();
        };
        force(&mut world, CircuitStateOpen);
        for _ in 0..3 {
            assert_eq!(refused(world.act("seed-1", act.clone())), "breaker_open", "{act:?}");
            assert_eq!(world.stage("seed-1"), stage, "{act:?}");
            let step = trainee.step + 1;
            world.live::<_, (u64, Act)>(&mut trainee, step, &[]);
        }
        force(&mut world, CircuitStateClosed);
        world.act("seed-1", act.clone()).unwrap_or_else(|error| panic!("{act:?}: {error}"));
    }
}

/// The answer to STABILIZE if each pass of the batch with which alpha becomes 1 sees what `shift` adds to it.
fn stabilized_after(shift: impl Fn(u32) -> f32) -> (&'static str, SeedLifecycleStage) {
    let (mut world, mut trainee) = (World::new(lenient()), Trainee::new(determined(Mlp::init())));
    world.attach(&trainee.model);
    world.live(&mut trainee, 19, &[(1, Germinate), (11, Graft(10))]);
    let passes = std::cell::Cell::new(0);
    let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
        passes.set(passes.get() + 1);
        host.forward(crate::common::batch::<B>(20).add_scalar(shift(passes.get())), grafts).square().mean()
    };
    world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward).unwrap();
    (refused(world.act("seed-1", Stabilize)), world.stage("seed-1"))
}

#[test]
fn unproven_pause_refuses_stabilize() {
    // With the seed paused and without it, again and again alike.
    let outcome = stabilized_after(|pass| if pass % 2 == 0 { 0.5 } else { 0.0 });
    assert_eq!(outcome, ("pause_unproven", SeedStageEmbargoed));
}

/// As when another thread draws from the backend's random numbers.
#[test]
fn passes_that_never_repeat_postpone_stabilize() {
    assert_eq!(stabilized_after(|pass| pass as f32 * 1e-3), ("pause_not_measured", SeedStageBlending));
}
