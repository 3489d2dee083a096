//! FOSSILIZE and TERMINATE of a fossil in two steps, and what a restored model does to them.

use kasmina_engine::{Effect, Event, Input, commands::Order, seed::Turn};
use kasmina_leyline::v1::SeedLifecycleStage::{
    SeedStageBlending, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized, SeedStageProbationary,
    SeedStageShadowing, SeedStageTerminated, SeedStageTraining,
};

use crate::world::{World, seed};

fn about_to_join() -> World {
    let mut world = World::new();
    world.grow(&seed("a"), SeedStageProbationary);
    (0..3).for_each(|_| drop(world.plain_step()));
    assert_eq!(world.order(Order::Fossilize { seed: seed("a") }).answer, Ok(()));
    world
}

fn reason(world: &mut World, order: Order) -> &'static str {
    world.order(order).answer.map_or_else(|refusal| refusal.reason(), |()| "ok")
}

#[test]
fn answered_fossilize_leaves_the_seed_probationary() {
    let mut world = about_to_join();
    let (a, stage) = (seed("a"), world.stage(&seed("a")));
    assert_eq!((stage, world.engine.state().run.fossils.len()), (SeedStageProbationary, 0));
    let record = &world.engine.state().seeds[&a].stage;
    assert!(record.is_live() && record.turn() == Turn::Joins);
    assert!(record.joining().is_some_and(|joining| joining.verdict.contains_key("contribution")));
    let joined = world.act(Input::ModelSettled { joined: vec![a.clone()], removed: Vec::new() });
    assert_eq!(joined.answer, Ok(()));
    assert!(joined.effects.contains(&Effect::HandOver { seed: a.clone() }));
    assert_eq!((world.stage(&a), &world.engine.state().run.fossils), (SeedStageFossilized, &vec![a]));
}

#[test]
fn seed_without_a_verdict_does_not_join() {
    for stage in [SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary] {
        let mut world = World::new();
        world.grow(&seed("a"), stage);
        let joined = world.act(Input::ModelSettled { joined: vec![seed("a")], removed: Vec::new() });
        assert_eq!(joined.answer.unwrap_err().reason(), "wrong_stage");
        assert_eq!(world.stage(&seed("a")), stage);
    }
}

#[test]
fn seed_about_to_join_refuses_every_order_but_to_leave() {
    let a = seed("a");
    let mut world = about_to_join();
    for order in [
        Order::Fossilize { seed: a.clone() },
        Order::Pause { seed: a.clone() },
        Order::FineTune { seed: a.clone(), steps: 1 },
        Order::Optimizer { seed: a.clone(), lr_scale: 2.0 },
    ] {
        assert_eq!(reason(&mut world, order.clone()), "wrong_stage", "{order:?}");
    }
    assert_eq!(reason(&mut world, Order::Cull { seed: a.clone(), blend_out_steps: 0 }), "ok");
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn cull_that_blends_out_withdraws_the_join() {
    let (mut world, a) = (about_to_join(), seed("a"));
    assert_eq!(reason(&mut world, Order::Cull { seed: a.clone(), blend_out_steps: 4 }), "ok");
    assert!(world.engine.state().seeds[&a].stage.joining().is_none());
    (0..4).for_each(|_| drop(world.plain_step()));
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn seed_taken_back_to_before_its_join_is_on_trial() {
    let (mut world, a) = (about_to_join(), seed("a"));
    world.checkpoint();
    assert_eq!(reason(&mut world, Order::RollBackSeed { seed: a.clone(), epoch: None }), "ok");
    assert_eq!(world.engine.state().seeds[&a].stage.turn(), Turn::IsProbed);
}

#[test]
fn terminated_fossil_is_one_until_it_has_left_the_model() {
    let (mut world, a) = (about_to_join(), seed("a"));
    world.settle();
    assert_eq!(reason(&mut world, Order::Terminate { seed: a.clone() }), "ok");
    assert_eq!((world.stage(&a), world.engine.state().run.fossils.len()), (SeedStageFossilized, 1));
    world.settle();
    assert_eq!((world.stage(&a), world.engine.state().run.fossils.len()), (SeedStageTerminated, 0));
    // Without the order, nothing leaves the model.
    let mut world = about_to_join();
    world.settle();
    let removed = world.act(Input::ModelSettled { joined: Vec::new(), removed: vec![a.clone()] });
    assert_eq!(removed.answer.unwrap_err().reason(), "wrong_stage");
    assert_eq!(world.stage(&a), SeedStageFossilized);
}

#[test]
fn removal_takes_back_what_was_measured_of_the_others() {
    let (mut world, a, c) = (about_to_join(), seed("a"), seed("c"));
    world.settle();
    world.grow(&c, SeedStageProbationary);
    (0..6).for_each(|_| drop(world.plain_step()));
    world.order(Order::Terminate { seed: a });
    world.settle();
    assert_eq!(reason(&mut world, Order::Fossilize { seed: c.clone() }), "too_few_probes");
    assert_eq!(world.stage(&c), SeedStageProbationary);
}

#[test]
fn older_model_takes_back_what_was_measured_on_a_newer_one() {
    for stage in [SeedStageBlending, SeedStageShadowing, SeedStageProbationary] {
        let (mut world, a) = (World::new(), seed("a"));
        world.grow(&a, stage);
        (0..6).for_each(|_| drop(world.plain_step()));
        let step = world.engine.state().run.step;
        let same = world.act(Input::ModelRestored(step));
        assert_eq!((same.events.len(), same.answer), (0, Ok(())));
        let older = world.act(Input::ModelRestored(step - 1));
        let reset = |event: &Event| {
            matches!(event, Event::EvidenceReset { seed, seed_step, model, join_withdrawn: false }
                if *seed == a && (*seed_step, *model) == (step, step - 1))
        };
        assert!(older.events.iter().any(reset), "{:?}", older.events);
        let order = Order::Fossilize { seed: a.clone() };
        let order = if stage == SeedStageShadowing { Order::Evaluate { seed: a.clone() } } else { order };
        if stage != SeedStageBlending {
            assert_eq!(reason(&mut world, order), "too_few_probes");
        }
        assert_eq!(world.stage(&a), stage);
    }
}

#[test]
fn model_older_than_the_verdict_withdraws_the_join() {
    let a = seed("a");
    for (ago, withdrawn) in [(0, false), (1, true)] {
        let mut world = about_to_join();
        let step = world.engine.state().run.step;
        // A step that is not on record for the join.
        world.act(Input::ModelRestored(step - ago));
        assert_eq!(world.engine.state().seeds[&a].stage.joining().is_none(), withdrawn);
    }
}

#[test]
fn model_that_is_ahead_of_the_record_sets_the_step() {
    let mut world = World::new();
    let restored = world.act(Input::ModelRestored(7));
    assert_eq!((restored.answer, world.engine.state().run.step), (Ok(()), 7));
}

#[test]
fn terminated_seed_is_forgotten_and_its_name_is_free() {
    let (mut world, a) = (World::new(), seed("a"));
    let early = world.act(Input::Forget(a.clone()));
    assert_eq!((early.answer.unwrap_err().reason(), early.delta.is_empty()), ("wrong_stage", true));
    assert_eq!(reason(&mut world, Order::Terminate { seed: a.clone() }), "ok");
    let forgotten = world.act(Input::Forget(a.clone()));
    assert_eq!((forgotten.answer, forgotten.delta.is_empty()), (Ok(()), false));
    assert!(!world.engine.state().seeds.contains_key(&a));
    let again = world.act(Input::Forget(a.clone()));
    assert_eq!(again.answer.unwrap_err().reason(), "unknown_seed");
    let registered = world.act(Input::Register(a.clone(), kasmina_leyline::SlotId::new("mid").unwrap()));
    assert_eq!((registered.answer, world.stage(&a)), (Ok(()), SeedStageDormant));
}

#[test]
fn fossil_in_the_model_is_not_forgotten_before_it_left() {
    let (mut world, a) = (about_to_join(), seed("a"));
    let _ = world.act(Input::ModelSettled { joined: vec![a.clone()], removed: Vec::new() });
    assert_eq!(reason(&mut world, Order::Terminate { seed: a.clone() }), "ok");
    assert_eq!(world.act(Input::Forget(a.clone())).answer.unwrap_err().reason(), "wrong_stage");
    let _ = world.act(Input::ModelSettled { joined: Vec::new(), removed: vec![a.clone()] });
    assert_eq!(world.act(Input::Forget(a.clone())).answer, Ok(()));
}

#[test]
fn forgotten_seed_is_back_after_a_rollback_behind_it() {
    let (mut world, a) = (World::new(), seed("a"));
    let _ = world.act(Input::EpochEnded);
    world.checkpoint();
    let before = world.engine.state().clone();
    assert_eq!(reason(&mut world, Order::Terminate { seed: a.clone() }), "ok");
    assert_eq!(world.act(Input::Forget(a.clone())).answer, Ok(()));
    assert_eq!(reason(&mut world, Order::Rollback { epoch: before.run.epoch }), "ok");
    let back = world.act(Input::RolledBack(before.run.epoch, Box::new(before)));
    assert_eq!((back.answer, world.stage(&a)), (Ok(()), SeedStageDormant));
}

/// What an overlay says with a seed terminated, forgotten and registered again on it, and what a state says to which its delta is applied.
#[test]
fn seed_forgotten_and_registered_in_one_batch_is_new() {
    let (world, a) = (World::new(), seed("a"));
    let (now, facts) = (kasmina_leyline::Monotonic::ORIGIN, kasmina_engine::Facts::default());
    let mut overlay = world.engine.overlay();
    for (input, known) in [
        (Input::Order(Order::Terminate { seed: a.clone() }), true),
        (Input::Forget(a.clone()), false),
        (Input::Register(a.clone(), kasmina_leyline::SlotId::new("elsewhere").unwrap()), true),
    ] {
        let decision = overlay.decide(input, &facts, now);
        assert_eq!(decision.answer, Ok(()));
        overlay.adopt(&decision);
        assert_eq!(overlay.seed(&a).is_some(), known);
    }
    let mut state = world.engine.state().clone();
    state.apply(overlay.into_delta());
    assert_eq!(state.seeds[&a].slot.to_string(), "elsewhere");
}

/// A seed of the old name, blueprint and count of lives is another seed all the same: its life ends with the rollback.
#[test]
fn new_seed_of_a_forgotten_name_is_rolled_back() {
    let (mut world, a) = (World::new(), seed("a"));
    world.grow(&a, SeedStageTraining);
    let _ = world.act(Input::EpochEnded);
    world.checkpoint();
    let before = world.engine.state().clone();
    assert_eq!(reason(&mut world, Order::Terminate { seed: a.clone() }), "ok");
    assert_eq!(world.act(Input::Forget(a.clone())).answer, Ok(()));
    let slot = kasmina_leyline::SlotId::new("mid").unwrap();
    assert_eq!(world.act(Input::Register(a.clone(), slot)).answer, Ok(()));
    world.grow(&a, SeedStageTraining);
    assert_eq!(world.engine.state().seeds[&a].lives, before.seeds[&a].lives);
    assert_eq!(reason(&mut world, Order::Rollback { epoch: before.run.epoch }), "ok");
    let grafted = before.seeds.values().filter(|seed| seed.stage.graft().is_some()).map(|seed| seed.id.clone());
    world.attached = grafted.collect();
    let back = world.act(Input::RolledBack(before.run.epoch, Box::new(before)));
    let ended = |event: &&Event| matches!(event, Event::LifeEnded(ended) if ended.reason == "rolled_back");
    assert_eq!(back.events.iter().filter(ended).count(), 1, "{:?}", back.events);
}
