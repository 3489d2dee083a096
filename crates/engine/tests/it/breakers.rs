//! The breakers around blending and telemetry.

use std::{slice, time::Duration};

use kasmina_engine::{
    Input,
    commands::{BreakerName, Order},
};
use kasmina_leyline::v1::{CircuitBreakerState, CircuitBreakerState::*, SeedLifecycleStage::*};

use crate::world::{Trouble, World, germinate, graft, reason, seed};

fn state(world: &World, name: BreakerName) -> CircuitBreakerState {
    world.engine.state().run.breakers.get(name).state()
}

fn advanced(world: &World) -> f32 {
    world.engine.state().alpha(&seed("a")).unwrap().get()
}

/// A step in which the kernel of `c` fails, which germinates again as soon as it can.
fn fault(world: &mut World) {
    let c = seed("c");
    world.grow(&c, SeedStageTraining);
    let faulty = slice::from_ref(&c).to_vec();
    world.step(&Trouble { faulty, ..Trouble::default() });
    assert_eq!(world.stage(&c), SeedStageEmbargoed);
}

/// Time enough for an embargo.
const REST: Duration = Duration::from_secs(30);

#[test]
fn faults_within_a_minute_open_the_blending_breaker() {
    let mut world = World::new();
    fault(&mut world);
    world.pass_time(REST);
    world.plain_step();
    fault(&mut world);
    world.pass_time(REST);
    // The first fault is a minute ago.
    fault(&mut world);
    assert_eq!(state(&world, BreakerName::Blending), CircuitStateClosed);
    world.grow(&seed("a"), SeedStageTraining);
    world.step(&Trouble { faulty: vec![seed("a")], ..Trouble::default() });
    assert_eq!(state(&world, BreakerName::Blending), CircuitStateOpen);
}

#[test]
fn open_blending_breaker_postpones_grafting_and_holds_alpha() {
    let mut world = World::new();
    let (a, c) = (seed("a"), seed("c"));
    world.grow(&c, SeedStageTraining);
    world.grow(&a, SeedStageBlending);
    let breaker = BreakerName::Blending;
    let before = advanced(&world);
    world.order(Order::CircuitBreaker { breaker, state: CircuitStateOpen });
    (0..5).for_each(|_| drop(world.plain_step()));
    assert_eq!((advanced(&world), world.stage(&a)), (before, SeedStageBlending));
    let postponed = world.order(graft(&c));
    assert_eq!((reason(&postponed), world.stage(&c)), ("breaker_open", SeedStageTraining));
    assert_eq!(reason(&world.order(germinate(&seed("b")))), "slot_taken", "and not breaker_open");

    // After the time-out it is half-open, and two steps with a blend close it.
    world.pass_time(Duration::from_secs(30));
    assert_eq!(state(&world, breaker), CircuitStateHalfOpen);
    (0..2).for_each(|_| drop(world.plain_step()));
    assert_eq!(state(&world, breaker), CircuitStateClosed);
    assert!(advanced(&world) > before);
    assert_eq!(reason(&world.order(graft(&c))), "ok");
}

#[test]
fn slow_blends_open_the_blending_breaker() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageShadowing);
    world.luck.blend_latency = Duration::from_millis(101);
    (0..2).for_each(|_| drop(world.plain_step()));
    assert_eq!(state(&world, BreakerName::Blending), CircuitStateClosed);
    world.luck.blend_latency = Duration::from_millis(100);
    world.plain_step();
    assert_eq!(state(&world, BreakerName::Blending), CircuitStateClosed);
    world.luck.blend_latency = Duration::from_millis(101);
    world.plain_step();
    assert_eq!(state(&world, BreakerName::Blending), CircuitStateOpen);
}

#[test]
fn failed_flushes_in_a_row_open_the_telemetry_breaker() {
    let mut world = World::new();
    for failed in [true, true, false, true, true] {
        let _ = world.act(Input::Flushed { failed });
    }
    assert_eq!(state(&world, BreakerName::Telemetry), CircuitStateClosed);
    let _ = world.act(Input::Flushed { failed: true });
    assert_eq!(state(&world, BreakerName::Telemetry), CircuitStateOpen);
    world.pass_time(Duration::from_secs(30));
    assert_eq!(state(&world, BreakerName::Telemetry), CircuitStateHalfOpen);
    for _ in 0..2 {
        let _ = world.act(Input::Flushed { failed: false });
    }
    assert_eq!(state(&world, BreakerName::Telemetry), CircuitStateClosed);
    let nothing = world.act(Input::Flushed { failed: false });
    assert!(nothing.delta.is_empty(), "there is nothing to journal");
}

#[test]
fn every_breaker_can_be_forced_and_outlives_the_process() {
    for breaker in BreakerName::ALL {
        let mut world = World::new();
        let forced = world.order(Order::CircuitBreaker { breaker, state: CircuitStateOpen });
        assert_eq!(reason(&forced), "ok");
        world.restart();
        for other in BreakerName::ALL {
            let expected = if other == breaker { CircuitStateOpen } else { CircuitStateClosed };
            assert_eq!(state(&world, other), expected, "{other}");
            assert_eq!(
                world.engine.state().run.breakers.get(other).settings(),
                world.engine.settings().breakers().into_iter().find(|(name, _)| *name == other).unwrap().1
            );
        }
    }
}
