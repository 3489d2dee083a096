//! CULL with `blend_out_steps`: alpha falls, the kernel is frozen, and then the seed is gone.

use kasmina_engine::{
    Effect, Event, Input, Stage,
    commands::{BreakerName, Order},
    input::LearningFacts,
    seed::{Leaving, Turn},
};
use kasmina_leyline::{
    SeedId,
    v1::{CircuitBreakerState::CircuitStateOpen, SeedLifecycleStage::*},
};

use crate::world::{Trouble, World, reason, seed};

fn alpha(world: &World, id: &SeedId) -> Option<f32> {
    world.engine.state().alpha(id).map(|alpha| alpha.get())
}

/// A world with `a` in the live network: in BLENDING at alpha 1/2, or in PROBATIONARY at 1.
fn live(stage: kasmina_leyline::v1::SeedLifecycleStage) -> (World, SeedId) {
    let (mut world, a) = (World::new(), seed("a"));
    world.grow(&a, stage);
    if stage == SeedStageBlending {
        world.plain_step();
    }
    (world, a)
}

#[test]
fn seed_in_the_blend_is_ramped_down_and_then_culled() {
    for (stage, from) in [(SeedStageBlending, 0.5), (SeedStageProbationary, 1.0)] {
        let (mut world, a) = live(stage);
        let ordered = world.cull(&a, 4);
        assert_eq!((reason(&ordered), ordered.transitions().count(), &ordered.effects[..]), ("ok", 0, &[][..]));
        assert!(ordered.events.contains(&Event::Leaving { seed: a.clone(), from, steps: 4 }));
        assert_eq!((world.stage(&a), alpha(&world, &a)), (stage, Some(from)));

        for left in [0.75, 0.5, 0.25] {
            let losses = world.engine.state().seeds[&a].stage.graft().unwrap().vitals.losses.len();
            let decisions = world.plain_step();
            assert_eq!((world.stage(&a), alpha(&world, &a)), (stage, Some(from * left)));
            let graft = world.engine.state().seeds[&a].stage.graft().unwrap();
            assert_eq!(graft.vitals.losses.len(), losses, "it does not learn");
            assert!(decisions.iter().all(|decision| decision.effects.is_empty()));
        }
        // In the step in which alpha would be 0, the seed is gone before the passes that come next.
        let advanced = world.plain_step().remove(1);
        assert_eq!(advanced.effects[..], [Effect::Detach { seed: a.clone() }]);
        assert!(advanced.events.contains(&Event::Culled { seed: a.clone(), why: "blended_out" }));
        assert_eq!((world.stage(&a), alpha(&world, &a)), (SeedStageEmbargoed, None));
    }
}

#[test]
fn ramp_goes_on_after_a_restart() {
    let (mut world, a) = live(SeedStageProbationary);
    world.cull(&a, 4);
    world.plain_step();
    world.restart();
    let leaving = Some(&Leaving { from: 1.0, steps: 4, done: 1 });
    assert_eq!(world.engine.state().seeds[&a].stage.leaving(), leaving);
    assert_eq!(alpha(&world, &a), Some(0.75));
    (0..2).for_each(|_| drop(world.plain_step()));
    assert_eq!(alpha(&world, &a), Some(0.25));
    world.plain_step();
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn cull_without_steps_in_the_middle_culls_at_once() {
    let (mut world, a) = live(SeedStageBlending);
    world.cull(&a, 100);
    world.plain_step();
    let culled = world.cull(&a, 0);
    assert_eq!((reason(&culled), world.stage(&a)), ("ok", SeedStageEmbargoed));
    assert!(culled.events.contains(&Event::Culled { seed: a, why: "command" }));
}

#[test]
fn second_ramp_begins_where_the_first_one_was() {
    let (mut world, a) = live(SeedStageProbationary);
    world.cull(&a, 4);
    world.plain_step();
    world.cull(&a, 2);
    assert_eq!(alpha(&world, &a), Some(0.75));
    world.plain_step();
    assert_eq!(alpha(&world, &a), Some(0.375));
    world.plain_step();
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn seed_that_is_not_in_the_blend_is_culled_at_once() {
    for stage in [SeedStageGerminated, SeedStageTraining, SeedStageBlending, SeedStageShadowing] {
        let (mut world, a) = (World::new(), seed("a"));
        // BLENDING here is at alpha 0.
        world.grow(&a, stage);
        assert_eq!((reason(&world.cull(&a, 10)), world.stage(&a)), ("ok", SeedStageEmbargoed), "{stage:?}");
    }
    let (mut world, a) = live(SeedStageProbationary);
    world.order(Order::Pause { seed: a.clone() });
    assert_eq!(
        (reason(&world.cull(&a, 10)), world.stage(&a)),
        ("ok", SeedStageEmbargoed),
        "the identity stands in for it"
    );
    assert_eq!(reason(&world.cull(&a, 10)), "illegal_transition");
    let (mut world, a) = live(SeedStageProbationary);
    assert_eq!(reason(&world.cull(&a, (1 << 24) + 1)), "malformed_command");
    assert_eq!(reason(&world.cull(&a, 1 << 24)), "ok");
}

#[test]
fn seed_that_leaves_goes_nowhere_else() {
    let (mut world, a) = live(SeedStageBlending);
    world.plain_step();
    world.cull(&a, 10);
    let seed = || a.clone();
    for order in [
        Order::Stabilize { seed: seed() },
        Order::Optimizer { seed: seed(), lr_scale: 2.0 },
        Order::Cancel { seed: seed() },
    ] {
        assert_eq!(reason(&world.order(order)), "wrong_stage");
    }
    let (mut world, a) = live(SeedStageProbationary);
    (0..3).for_each(|_| drop(world.plain_step()));
    world.cull(&a, 10);
    for order in [Order::Fossilize { seed: seed() }, Order::FineTune { seed: seed(), steps: 1 }] {
        assert_eq!(reason(&world.order(order)), "wrong_stage");
    }
    assert_eq!(world.engine.state().seeds[&a].stage.leaving(), Some(&Leaving { from: 1.0, steps: 10, done: 0 }));
    assert_eq!(reason(&world.order(Order::Terminate { seed: a.clone() })), "ok");
    assert_eq!(world.stage(&a), SeedStageTerminated);
}

#[test]
fn fine_tuning_ends_when_the_seed_leaves() {
    let (mut world, a) = live(SeedStageProbationary);
    world.order(Order::FineTune { seed: a.clone(), steps: 100 });
    assert_eq!(world.engine.state().seeds[&a].stage.turn(), Turn::Learns);
    world.cull(&a, 3);
    assert_eq!(world.engine.state().seeds[&a].stage.turn(), Turn::Leaves);
}

#[test]
fn paused_seed_goes_on_leaving_and_can_be_resumed() {
    let (mut world, a) = live(SeedStageProbationary);
    world.cull(&a, 4);
    assert_eq!(reason(&world.order(Order::Pause { seed: a.clone() })), "ok");
    world.plain_step();
    assert_eq!((alpha(&world, &a), world.engine.state().seeds[&a].stage.turn()), (Some(0.75), Turn::None));
    assert_eq!(reason(&world.order(Order::Resume { seed: a.clone() })), "ok");
    assert_eq!(world.engine.state().seeds[&a].stage.turn(), Turn::Leaves);
    (0..3).for_each(|_| drop(world.plain_step()));
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn falling_alpha_is_not_held_against_a_seed_that_leaves() {
    let (mut world, a) = live(SeedStageBlending);
    world.cull(&a, 50);
    let breaker = BreakerName::Blending;
    world.order(Order::CircuitBreaker { breaker, state: CircuitStateOpen });
    world.luck.seed_loss = 100.0;
    (0..49).for_each(|_| drop(world.plain_step()));
    assert_eq!((world.stage(&a), world.engine.state().run.hunt.clone()), (SeedStageBlending, None));
    world.plain_step();
    assert_eq!(world.stage(&a), SeedStageEmbargoed, "an open breaker holds alpha, and not the way out");
}

#[test]
fn leaving_seed_is_judged_by_violations_and_not_by_loss() {
    let (mut world, a) = (World::new(), seed("a"));
    world.grow(&a, SeedStageBlending);
    // One more loss, and G2 would see them rise.
    for seed_loss in [1.0, 1.0, 4.0] {
        world.luck.seed_loss = seed_loss;
        world.plain_step();
    }
    let mut control = World::new();
    control.grow(&a, SeedStageBlending);
    for seed_loss in [1.0, 1.0, 4.0, 4.0] {
        control.luck.seed_loss = seed_loss;
        control.plain_step();
    }
    assert!(control.engine.state().run.hunt.is_some());
    let _ = world.act(Input::AlphaAdvanced);
    let learners = [a.clone()].into();
    let _ = world.act(Input::LearningPass(LearningFacts { loss: Some(4.0), learners, ..LearningFacts::default() }));
    world.cull(&a, 100);
    world.plain_step();
    assert_eq!((world.stage(&a), world.engine.state().run.hunt.clone()), (SeedStageBlending, None));
    world.step(&Trouble { violating: vec![a.clone()], ..Trouble::default() });
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
    assert!(world.seen.contains("culled isolation_violations"));
}

#[test]
fn rollback_of_the_seed_takes_its_leaving_back() {
    let (mut world, a) = live(SeedStageProbationary);
    world.checkpoint();
    world.cull(&a, 4);
    world.plain_step();
    assert_eq!(reason(&world.order(Order::RollBackSeed { seed: a.clone(), epoch: None })), "ok");
    assert_eq!((alpha(&world, &a), world.engine.state().seeds[&a].stage.leaving()), (Some(1.0), None));
}

#[test]
fn facts_of_a_pass_after_the_seed_has_gone_change_nothing() {
    let (mut world, a) = live(SeedStageBlending);
    world.cull(&a, 0);
    let facts = LearningFacts { loss: Some(1.0), learners: [a.clone()].into(), ..LearningFacts::default() };
    let late = world.act(Input::LearningPass(facts));
    assert!(late.delta.is_empty() && late.events.is_empty(), "{late:?}");
    assert!(matches!(world.engine.state().seeds[&a].stage, Stage::Embargoed(_)));
}

proptest::proptest! {
    #[test]
    fn alpha_of_any_ramp_falls_to_zero(from in 0.0..=1.0_f32, steps in 1..5_000_u64) {
        let at = |done| Leaving { from, steps, done }.alpha().get();
        proptest::prop_assert_eq!((at(0), at(steps), at(u64::MAX)), (from, 0.0, 0.0));
        for done in 1..=steps {
            proptest::prop_assert!(at(done) <= at(done - 1));
        }
    }
}
