//! What the shell is asked to measure in which step.

use std::collections::BTreeMap;

use kasmina_engine::{Measurement, State, commands::Order};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::*};

use crate::world::{World, seed, settings};

/// What is measured in each of the next steps, if nothing happens.
fn measured(state: &State, steps: u64, every: u64) -> Vec<Measurement> {
    let settings = kasmina_engine::EngineSettings { probe_every: every, ..settings() };
    (1..=steps).flat_map(|step| state.measurements(step, &settings)).collect()
}

fn probes(measurements: &[Measurement]) -> BTreeMap<SeedId, usize> {
    let mut counts = BTreeMap::new();
    for measurement in measurements {
        if let Measurement::Probe(id) = measurement {
            *counts.entry(id.clone()).or_default() += 1;
        }
    }
    counts
}

/// The forwards that this costs if no learning pass gives one of the losses.
fn forwards(measurements: &[Measurement]) -> usize {
    let cost = |measurement: &Measurement| match measurement {
        Measurement::Probe(_) | Measurement::PauseProof(_) => 2,
        Measurement::Interaction(..) => 4,
    };
    measurements.iter().map(cost).sum()
}

#[test]
fn seeds_on_trial_are_probed_in_turn_before_blending_ones() {
    let mut world = World::strict(&[("a", "one"), ("b", "two"), ("c", "three"), ("d", "four"), ("e", "five")]);
    for (id, stage) in [("a", SeedStageShadowing), ("b", SeedStageProbationary), ("e", SeedStageTraining)] {
        world.grow(&seed(id), stage);
    }
    world.grow(&seed("c"), SeedStageBlending);
    let counts = probes(&measured(world.engine.state(), 600, 2));
    assert!(counts.len() == 2 && counts.values().all(|count| (89..=91).contains(count)), "{counts:?}");
    for id in ["a", "b"] {
        world.order(Order::Pause { seed: seed(id) });
    }
    assert_eq!(probes(&measured(world.engine.state(), 600, 2)), BTreeMap::from([(seed("c"), 300)]));
}

#[test]
fn every_fourth_turn_is_an_interaction_of_each_pair_in_turn() {
    let mut world = World::strict(&[("a", "one"), ("b", "two"), ("c", "three")]);
    world.grow(&seed("a"), SeedStageProbationary);
    world.grow(&seed("b"), SeedStageBlending);
    world.grow(&seed("c"), SeedStageShadowing);
    let turns = measured(world.engine.state(), 20, 2);
    let pair = Measurement::Interaction(seed("a"), seed("b"));
    let kinds: Vec<_> = turns.iter().map(|turn| *turn == pair).collect();
    assert_eq!(kinds, [false, false, true, false, false, false, true, false], "SHADOWING is not in the live network");
    world.grow(&seed("c"), SeedStageProbationary);
    let all = measured(world.engine.state(), 60, 2);
    for (one, other) in [("a", "b"), ("a", "c"), ("b", "c")] {
        let pair = Measurement::Interaction(seed(one), seed(other));
        assert_eq!(all.iter().filter(|turn| **turn == pair).count(), 2, "{pair:?}");
    }
    let counts = probes(&all);
    // The first round and the last are not whole.
    assert!(counts.len() == 2 && (17..=18).contains(&counts.values().sum::<usize>()), "{counts:?}");
    assert!(counts.values().all(|count| (8..=10).contains(count)), "{counts:?}");
}

#[test]
fn measuring_costs_at_most_one_forward_a_step_on_average() {
    for live in 1..=6_usize {
        let names = ["a", "b", "c", "d", "e", "f"];
        let seeds: Vec<_> = names[..live].iter().map(|name| (*name, *name)).collect();
        let mut world = World::strict(&seeds);
        for (id, _) in &seeds {
            world.grow(&seed(id), SeedStageProbationary);
        }
        let turns = measured(world.engine.state(), 1_000, 2);
        assert!(forwards(&turns) <= 1_000, "{live}: {}", forwards(&turns));
        let pairs = turns.iter().any(|turn| matches!(turn, Measurement::Interaction(..)));
        assert_eq!(pairs, (2..=4).contains(&live));
        let counts = probes(&turns);
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        assert!(counts.len() == live && most - least <= 2, "{counts:?}");
    }
}

/// A slot that is visited in every second batch, or every third, is probed all the same.
#[test]
fn probes_of_each_seed_fall_on_all_kinds_of_batches() {
    for live in 1..=4_usize {
        for (every, period) in [(1, 2), (1, 3), (2, 2), (2, 3), (2, 4), (3, 2), (3, 3), (4, 2)] {
            let seeds: Vec<_> = ["a", "b", "c", "d"][..live].iter().map(|name| (*name, *name)).collect();
            let mut world = World::strict(&seeds);
            for (id, _) in &seeds {
                world.grow(&seed(id), SeedStageShadowing);
            }
            let settings = kasmina_engine::EngineSettings { probe_every: every, ..settings() };
            let mut met = BTreeMap::new();
            for step in 1..=1_000 {
                for measurement in world.engine.state().measurements(step, &settings) {
                    if let Measurement::Probe(id) = measurement {
                        *met.entry((id, step % period)).or_insert(0) += 1;
                    }
                }
            }
            assert_eq!(met.len() as u64, live as u64 * period, "{live} seeds, every {every}: {met:?}");
        }
    }
}

#[test]
fn nothing_is_measured_without_a_seed_or_of_one_that_leaves() {
    let mut world = World::strict(&[("a", "one"), ("b", "two")]);
    assert_eq!(measured(world.engine.state(), 50, 0), []);
    world.grow(&seed("a"), SeedStageProbationary);
    world.cull(&seed("a"), 100);
    assert_eq!(measured(world.engine.state(), 50, 1), []);
}

#[test]
fn pause_is_to_be_proven_until_it_was() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageBlending);
    let wanted = |world: &World| measured(world.engine.state(), 1, 2).contains(&Measurement::PauseProof(seed("a")));
    assert!(!wanted(&world), "alpha is below 1");
    let _ = world.act(kasmina_engine::Input::AlphaAdvanced);
    let _ = world.act(kasmina_engine::Input::AlphaAdvanced);
    assert!(wanted(&world));
    let _ = world.act(kasmina_engine::Input::PauseProof(a, true));
    assert!(!wanted(&world));
}
