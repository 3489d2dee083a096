//! A loss of the blend that misbehaves, and whose fault it is.

use std::collections::BTreeMap;

use kasmina_engine::{Event, Input, Measurement, commands::Order};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{self, *},
};

use crate::world::{Trouble, World, policy, seed, settings};

const FOUR: [(&str, &str); 4] = [("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")];

/// These seeds in BLENDING, with more losses than G2 needs, all of them of 1.
fn blending(seeds: &[(&str, &str)]) -> World {
    let mut world = World::strict(seeds);
    for (id, _) in seeds {
        world.grow(&seed(id), SeedStageTraining);
    }
    (0..8).for_each(|_| drop(world.plain_step()));
    for (id, _) in seeds {
        world.grow(&seed(id), SeedStageBlending);
    }
    (0..8).for_each(|_| drop(world.plain_step()));
    world
}

/// Steps with a loss that rises, until a hunt is on.
fn rise(world: &mut World) {
    for _ in 0..40 {
        world.luck.seed_loss *= 1.5;
        world.plain_step();
        if world.engine.state().run.hunt.is_some() {
            return;
        }
    }
    panic!("nobody noticed");
}

/// The step after that, in which the seeds change the loss by this much.
fn probe(world: &mut World, differences: &[(&str, f32)]) -> Vec<Event> {
    let differences: BTreeMap<_, _> = differences.iter().map(|(id, by)| (seed(id), *by)).collect();
    let trouble = Trouble { differences, ..Trouble::default() };
    world.step(&trouble).into_iter().flat_map(|decision| decision.events).collect()
}

fn stages(world: &World) -> Vec<SeedLifecycleStage> {
    world.engine.state().seeds.values().map(|seed| seed.stage.leyline()).collect()
}

fn losses(world: &World, id: &SeedId) -> usize {
    world.engine.state().seeds[id].stage.graft().unwrap().vitals.losses.len()
}

#[test]
fn one_bad_seed_among_four_is_the_one_that_is_culled() {
    for bad in ["a", "b", "c", "d"] {
        let mut world = blending(&FOUR);
        rise(&mut world);
        assert_eq!(stages(&world), [SeedStageBlending; 4], "a trend alone culls nobody");
        let state = world.engine.state();
        let wanted = state.measurements(state.run.step + 1, world.engine.settings());
        let all: Vec<_> = FOUR.iter().map(|(id, _)| Measurement::Probe(seed(id))).collect();
        assert_eq!(wanted, all);

        let differences = FOUR.map(|(id, _)| (id, if id == bad { -3.0 } else { 0.2 }));
        let events = probe(&mut world, &differences);
        assert!(events.contains(&Event::HuntEnded { culled: Some(seed(bad)) }), "{events:?}");
        assert!(events.contains(&Event::Culled { seed: seed(bad), why: "loss_rising" }));
        for (id, _) in FOUR {
            let (stage, culled) = (world.stage(&seed(id)), id == bad);
            assert_eq!(stage == SeedStageBlending, !culled, "{id}");
            assert!(culled || losses(&world, &seed(id)) == 0, "the windows start anew");
        }
        world.luck.seed_loss = 0.9;
        (0..200).for_each(|_| drop(world.plain_step()));
        assert_eq!(stages(&world).iter().filter(|stage| **stage == SeedStageBlending).count(), 3);
    }
}

#[test]
fn worst_of_two_bad_seeds_goes_first() {
    let mut world = blending(&FOUR);
    rise(&mut world);
    probe(&mut world, &[("a", -1.0), ("b", 0.5), ("c", -2.0), ("d", 0.0)]);
    assert_eq!(stages(&world), [SeedStageBlending, SeedStageBlending, SeedStageEmbargoed, SeedStageBlending]);
    rise(&mut world);
    probe(&mut world, &[("a", -1.0), ("b", 0.5), ("d", 0.0)]);
    assert_eq!(stages(&world), [SeedStageEmbargoed, SeedStageBlending, SeedStageEmbargoed, SeedStageBlending]);
}

#[test]
fn rise_that_no_seed_makes_worse_culls_nobody() {
    let mut world = blending(&FOUR);
    for _ in 0..3 {
        rise(&mut world);
        let events = probe(&mut world, &[("a", 0.1), ("b", 0.0), ("c", 0.3), ("d", 0.2)]);
        assert!(events.contains(&Event::HuntEnded { culled: None }), "{events:?}");
        assert_eq!(losses(&world, &seed("a")), 0);
        world.luck.seed_loss = 0.9;
        (0..8).for_each(|_| drop(world.plain_step()));
    }
    assert_eq!(stages(&world), [SeedStageBlending; 4]);
}

#[test]
fn single_seed_is_culled_only_if_it_makes_the_loss_worse() {
    for (difference, expected) in [(-0.1, SeedStageEmbargoed), (0.0, SeedStageBlending), (0.1, SeedStageBlending)] {
        let mut world = blending(&FOUR[..1]);
        rise(&mut world);
        probe(&mut world, &[("a", difference)]);
        assert_eq!(world.stage(&seed("a")), expected, "{difference}");
    }
}

#[test]
fn loss_that_swings_is_hunted_too() {
    let mut world = blending(&FOUR);
    for step in 0..200 {
        world.luck.seed_loss = [0.001, 9.0][step % 2];
        world.plain_step();
        if world.engine.state().run.hunt.is_some() {
            break;
        }
    }
    world.luck.seed_loss = 0.9;
    let events = probe(&mut world, &[("b", -1.0)]);
    assert!(events.contains(&Event::Culled { seed: seed("b"), why: "loss_oscillating" }), "{events:?}");
}

#[test]
fn hunt_waits_for_a_probe_that_says_something() {
    let mut world = blending(&FOUR[..2]);
    rise(&mut world);
    let loss = std::mem::replace(&mut world.luck.loss, f32::NAN);
    (0..3).for_each(|_| drop(world.plain_step()));
    assert!(world.engine.state().run.hunt.is_some(), "nothing was measured");
    assert_eq!(stages(&world), [SeedStageBlending; 2]);
    world.luck.loss = loss;
    probe(&mut world, &[("a", -1.0), ("b", 1.0)]);
    assert_eq!(stages(&world), [SeedStageEmbargoed, SeedStageBlending]);
}

#[test]
fn hunt_outlives_process_and_finds_a_probationary_seed() {
    let mut world = World::new();
    world.grow(&seed("c"), SeedStageProbationary);
    world.grow(&seed("a"), SeedStageBlending);
    rise(&mut world);
    world.restart();
    assert!(world.engine.state().run.hunt.is_some());
    probe(&mut world, &[("a", 0.5), ("c", -0.5)]);
    assert_eq!((world.stage(&seed("a")), world.stage(&seed("c"))), (SeedStageBlending, SeedStageEmbargoed));
}

#[test]
fn rise_that_only_rounding_puts_on_a_seed_culls_nobody() {
    let mut world = blending(&FOUR[..2]);
    rise(&mut world);
    // One unit in the last place of the loss.
    probe(&mut world, &[("a", -f32::EPSILON), ("b", 0.3)]);
    assert_eq!(stages(&world), [SeedStageBlending; 2]);
}

#[test]
fn hunt_that_measures_nothing_holds_up_no_other_seed() {
    let mut world = World::of(settings(), policy(), &FOUR[..3]);
    world.grow(&seed("c"), SeedStageProbationary);
    world.grow(&seed("b"), SeedStageShadowing);
    world.grow(&seed("a"), SeedStageBlending);
    rise(&mut world);
    world.cull(&seed("a"), 0);
    // No batch comes to the slot of the one that is live.
    let blind = Trouble { blind: true, ..Trouble::default() };
    let probed = (0..20).any(|_| {
        world.step(&blind);
        let state = world.engine.state();
        assert!(state.run.hunt.is_some());
        let wanted = state.measurements(state.run.step + 1, world.engine.settings());
        wanted.contains(&Measurement::Probe(seed("b")))
    });
    assert!(probed, "the seed in SHADOWING is never measured");
}

#[test]
fn rollback_to_a_hunt_goes_on_with_it() {
    let mut world = blending(&FOUR[..2]);
    rise(&mut world);
    world.checkpoint();
    let then = world.engine.state().run.hunt.clone();
    assert!(then.is_some());
    probe(&mut world, &[("a", -1.0), ("b", 1.0)]);
    drop(world.order(Order::Rollback { epoch: 0 }));
    let state = Box::new(world.checkpoints[&0].clone());
    world.attached.insert(seed("a"));
    let _ = world.act(Input::RolledBack(0, state));
    assert_eq!(world.engine.state().run.hunt, then);
}

#[test]
fn cull_of_a_helpful_seed_is_not_laid_to_another() {
    let mut world = blending(&FOUR[..2]);
    world.luck.seed_loss = 0.5;
    (0..60).for_each(|_| drop(world.plain_step()));
    world.cull(&seed("a"), 0);
    // Without it the loss is as it was.
    world.luck.seed_loss = 1.0;
    for _ in 0..60 {
        probe(&mut world, &[("b", -0.02)]);
    }
    assert_eq!(world.stage(&seed("b")), SeedStageBlending);
}

#[test]
fn seed_that_has_helped_is_not_culled_for_one_batch() {
    let mut world = blending(&FOUR[..2]);
    for step in 0..200_u8 {
        if world.engine.state().run.hunt.is_some() {
            break;
        }
        // In the end the loss rises with the host's.
        world.luck.seed_loss *= if step < 120 { 1.0 } else { 1.5 };
        // Both help, a little more or less from batch to batch.
        let some = 0.3 + f32::from(step % 3) * 0.05;
        probe(&mut world, &[("a", some), ("b", some)]);
    }
    assert!(world.engine.state().run.hunt.is_some());
    let events = probe(&mut world, &[("a", -0.02), ("b", 0.3)]);
    assert!(events.contains(&Event::HuntEnded { culled: None }), "{events:?}");
    assert_eq!(stages(&world), [SeedStageBlending; 2]);
}

#[test]
fn windows_begin_anew_while_a_seed_is_leaving() {
    let mut world = blending(&FOUR[..2]);
    world.cull(&seed("a"), 20);
    for _ in 0..20 {
        // The loss rises because a seed that helped is going.
        world.luck.seed_loss *= 1.5;
        world.plain_step();
        assert_eq!(world.engine.state().run.hunt, None);
    }
    assert_eq!(world.stage(&seed("b")), SeedStageBlending);
}
