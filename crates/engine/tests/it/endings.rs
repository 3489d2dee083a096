//! What is told of a seed's life at its end.

use std::time::Duration;

use kasmina_engine::{
    Decision, Event, Input, LifeEnded,
    commands::Order,
    input::{Fault, HostPassFacts, KernelFailure},
};
use kasmina_leyline::{
    CommandId, SlotId,
    v1::{
        FieldReportOutcome::{self, Aborted, Neutral, Regression, Success},
        SeedLifecycleStage::*,
    },
};

use crate::world::{Trouble, World, blueprint, germinate, seed};

fn command(world: &mut World, order: Order) -> Decision {
    world.act(Input::Command(CommandId::new("tamiyo-1").unwrap(), order))
}

fn ended<'d>(decisions: impl IntoIterator<Item = &'d Decision>) -> LifeEnded {
    let mut ends = decisions.into_iter().flat_map(|decision| &decision.events).filter_map(|event| match event {
        Event::LifeEnded(ended) => Some(LifeEnded::clone(ended)),
        _ => None,
    });
    let ended = ends.next().expect("a life that ended");
    assert!(ends.next().is_none());
    ended
}

/// Outcome, reason, and whether a command decided it.
fn told(ended: &LifeEnded) -> (FieldReportOutcome, &'static str, bool) {
    (ended.outcome, ended.reason, ended.by.as_ref().is_some_and(|by| by.as_str() == "tamiyo-1"))
}

fn about_to_join() -> World {
    let mut world = World::new();
    world.grow(&seed("a"), SeedStageProbationary);
    (0..3).for_each(|_| drop(world.plain_step()));
    assert_eq!(command(&mut world, Order::Fossilize { seed: seed("a") }).answer, Ok(()));
    world
}

#[test]
fn fossil_is_a_success_of_the_command_that_was_answered() {
    let mut world = about_to_join();
    world.act(Input::EpochEnded);
    world.act(Input::EpochEnded);
    world.restart();
    let joined = world.act(Input::ModelSettled { joined: vec![seed("a")], removed: Vec::new() });
    let ended = ended([&joined]);
    assert_eq!(told(&ended), (Success, "fossilized", true));
    assert_eq!((ended.blueprint, ended.epochs), (blueprint(), 2));
    assert_eq!(ended.seed.stage.leyline(), SeedStageProbationary, "as it was at its end");
    assert!(ended.seed.stage.contribution().unwrap().mean() > 0.0);
}

#[test]
fn seed_that_a_gate_refuses_is_a_regression() {
    let (mut world, a) = (World::new(), seed("a"));
    world.grow(&a, SeedStageBlending);
    (0..3).for_each(|_| drop(world.plain_step()));
    world.luck.registered = 3;
    let refused = command(&mut world, Order::Stabilize { seed: a });
    let ended = ended([&refused]);
    assert_eq!((ended.outcome, ended.by.is_some()), (Regression, true));
    assert_eq!(refused.answer.unwrap_err().reason(), ended.reason);
}

#[test]
fn violations_and_broken_losses_are_regressions() {
    for (trouble, reason) in [
        (Trouble { violating: vec![seed("a")], ..Trouble::default() }, "isolation_violations"),
        (Trouble { culprits: vec![seed("a")], ..Trouble::default() }, "loss_not_finite"),
    ] {
        let mut world = World::new();
        world.grow(&seed("a"), SeedStageBlending);
        let decisions: Vec<_> = (0..3).flat_map(|_| world.step(&trouble)).collect();
        assert_eq!(told(&ended(&decisions)), (Regression, reason, false));
    }
}

#[test]
fn kernel_that_fails_aborts() {
    let (mut world, a) = (World::new(), seed("a"));
    command(&mut world, germinate(&a));
    let (reason, detail) = ("prefetch_timeout", String::new());
    let failure = KernelFailure { blueprint: blueprint(), reason, detail, source_failed: true };
    let failed = world.act(Input::KernelFailed(a.clone(), failure));
    assert_eq!(told(&ended([&failed])), (Aborted, "prefetch_timeout", false));

    let mut world = World::new();
    world.grow(&a, SeedStageBlending);
    let decisions = world.step(&Trouble { faulty: vec![a], ..Trouble::default() });
    assert_eq!(ended(&decisions).outcome, Aborted);
}

#[test]
fn orders_end_lives_as_they_are_meant() {
    let a = seed("a");
    for (stage, order, expected) in [
        (SeedStageTraining, Order::Cancel { seed: a.clone() }, (Aborted, "cancelled", true)),
        (SeedStageTraining, Order::Cull { seed: a.clone(), blend_out_steps: 0 }, (Neutral, "command", true)),
        (SeedStageShadowing, Order::Terminate { seed: a.clone() }, (Neutral, "terminated", true)),
    ] {
        let mut world = World::new();
        world.grow(&a, stage);
        assert_eq!(told(&ended([&command(&mut world, order)])), expected);
    }
}

#[test]
fn ramp_ends_with_the_command_that_began_it() {
    let (mut world, a) = (about_to_join(), seed("a"));
    let cull = Order::Cull { seed: a, blend_out_steps: 2 };
    world.act(Input::Command(CommandId::new("tamiyo-2").unwrap(), cull));
    let decisions: Vec<_> = (0..2).flat_map(|_| world.plain_step()).collect();
    let ended = ended(&decisions);
    assert_eq!((ended.outcome, ended.reason, ended.by.unwrap().as_str()), (Neutral, "blended_out", "tamiyo-2"));
}

#[test]
fn cull_of_a_seed_about_to_join_names_no_command() {
    let mut world = about_to_join();
    let fault = Fault { seed: seed("a"), slot: SlotId::new("mid").unwrap(), reason: "shape", detail: String::new() };
    let culled = world.act(Input::HostPass(HostPassFacts { faults: vec![fault], ..HostPassFacts::default() }));
    assert_eq!(ended([&culled]).by, None, "FOSSILIZE did not end it");
}

#[test]
fn rollback_to_before_a_life_ends_it() {
    let (mut world, a) = (World::new(), seed("a"));
    world.checkpoint();
    let epoch = world.engine.state().run.epoch;
    world.grow(&a, SeedStageTraining);
    world.order(Order::Rollback { epoch });
    let state = world.checkpoints[&epoch].clone();
    world.attached.clear();
    let back = world.act(Input::RolledBack(epoch, Box::new(state)));
    assert_eq!(told(&ended([&back])), (Neutral, "rolled_back", false));
}

#[test]
fn rollback_within_a_life_does_not_end_it() {
    let (mut world, a) = (World::new(), seed("a"));
    world.grow(&a, SeedStageTraining);
    world.checkpoint();
    let epoch = world.engine.state().run.epoch;
    world.plain_step();
    world.order(Order::Rollback { epoch });
    let state = world.checkpoints[&epoch].clone();
    let back = world.act(Input::RolledBack(epoch, Box::new(state)));
    assert!(!back.events.iter().any(|event| matches!(event, Event::LifeEnded(_))));
}

/// The kernel of the second life is that of the first, which comes back: one of the two has ended all the same.
#[test]
fn rollback_past_a_second_life_with_one_kernel_ends_it() {
    let (mut world, a) = (World::new(), seed("a"));
    world.grow(&a, SeedStageTraining);
    world.checkpoint();
    let epoch = world.engine.state().run.epoch;
    assert_eq!(world.order(Order::Cull { seed: a.clone(), blend_out_steps: 0 }).answer, Ok(()));
    world.pass_time(Duration::from_secs(60));
    world.grow(&a, SeedStageTraining);
    world.order(Order::Rollback { epoch });
    let state = world.checkpoints[&epoch].clone();
    let back = world.act(Input::RolledBack(epoch, Box::new(state)));
    assert_eq!(told(&ended([&back])), (Neutral, "rolled_back", false));
}
