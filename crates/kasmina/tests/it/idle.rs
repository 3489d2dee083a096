//! A seed that gets no gradients is not judged, not grafted and not culled for it.

use crate::common::{
    B, Host, Mlp, RATE, World, batch, contribution, determined, lenient, loss, named, refused, weights,
};
use burn::tensor::Tensor;
use kasmina::{
    Grafts, StepReport,
    doubles::{Act::*, Trainee},
    leyline::v1::SeedLifecycleStage::{self, *},
};

/// How a batch treats the slots.
#[derive(Clone, Copy, PartialEq)]
enum Slots {
    Used,
    /// Visited, and what comes out is thrown away.
    ThrownAway,
    NotVisited,
}

fn forward(slots: Slots, step: u64) -> impl Fn(&Mlp<B>, &mut Grafts<B>) -> Tensor<B, 1> {
    move |host, grafts| {
        if slots == Slots::ThrownAway {
            drop(host.forward(batch(step), grafts));
        }
        if slots == Slots::Used { loss(host, step, grafts) } else { loss(host, step, &mut Grafts::none()) }
    }
}

fn step(world: &mut World, trainee: &mut Trainee<Mlp<B>>, slots: Slots) -> StepReport {
    trainee.step += 1;
    let forward = forward(slots, trainee.step);
    world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward).unwrap()
}

/// A world that knows the slots, and nothing else.
fn world() -> (World, Trainee<Mlp<B>>) {
    let (mut world, trainee) = (World::new(lenient()), Trainee::new(determined(Mlp::init())));
    world.attach(&trainee.model);
    (world, trainee)
}

#[test]
fn seed_without_gradients_never_passes_g2() {
    for (slots, reason) in [(Slots::ThrownAway, "slot_unused"), (Slots::NotVisited, "slot_not_reached")] {
        let (mut world, mut trainee) = world();
        world.act("seed-1", Germinate).unwrap();
        world.act("seed-2", Germinate).unwrap();
        let before = ["seed-1", "seed-2"].map(|name| weights(&world, name));
        world.events();
        for _ in 0..30 {
            step(&mut world, &mut trainee, slots);
        }
        for _ in 0..20 {
            step(&mut world, &mut trainee, slots);
            for name in ["seed-1", "seed-2"] {
                assert_eq!(refused(world.act(name, Graft(10))), reason);
                assert_eq!(world.stage(name), SeedStageTraining);
            }
        }
        assert!(["seed-1", "seed-2"].map(|name| weights(&world, name)) == before, "{reason}");
        let events = world.events();
        let idle: Vec<_> = named(&events, "seed_idle")
            .into_iter()
            .map(|event| (event.attributes["slot"].as_str(), event.attributes["reason"].as_str()))
            .collect();
        assert_eq!(idle, [("mid", reason), ("late", reason)], "once for each");
        let postponed = named(&events, "gate_postponed");
        assert_eq!(postponed.len(), 2, "once for each");
        assert!(postponed.iter().all(|event| event.attributes["reason"] == reason));
    }
}

#[test]
fn idle_seed_is_grafted_once_its_slot_is_used() {
    let (mut world, mut trainee) = world();
    world.act("seed-1", Germinate).unwrap();
    for _ in 0..10 {
        step(&mut world, &mut trainee, Slots::ThrownAway);
    }
    assert_eq!(refused(world.act("seed-1", Graft(10))), "slot_unused");
    step(&mut world, &mut trainee, Slots::Used);
    world.act("seed-1", Graft(10)).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageBlending);
}

#[test]
fn blending_seed_stands_still_while_its_slot_is_unused() {
    for slots in [Slots::ThrownAway, Slots::NotVisited] {
        let (mut world, mut trainee) = world();
        world.act("seed-1", Germinate).unwrap();
        for _ in 0..10 {
            step(&mut world, &mut trainee, Slots::Used);
        }
        world.act("seed-1", Graft(100)).unwrap();
        step(&mut world, &mut trainee, Slots::Used);
        let before = weights(&world, "seed-1");
        world.events();
        for _ in 0..30 {
            step(&mut world, &mut trainee, slots);
        }
        assert!(weights(&world, "seed-1") == before);
        assert_eq!(world.stage("seed-1"), SeedStageBlending);
        assert_eq!(named(&world.events(), "seed_idle").len(), 1);
        step(&mut world, &mut trainee, Slots::Used);
        assert!(weights(&world, "seed-1") != before);
    }
}

/// Alpha becomes 1 on a batch that does not come to the slot, and every stage has such batches.
#[test]
fn slot_of_every_second_batch_culls_nobody() {
    for slots in [Slots::ThrownAway, Slots::NotVisited] {
        let (mut world, mut trainee) = world();
        // Used in odd steps.
        let mut next = |world: &mut World| {
            let slots = if trainee.step % 2 == 0 { Slots::Used } else { slots };
            step(world, &mut trainee, slots)
        };
        let expect = |world: &World, stage: SeedLifecycleStage| {
            assert_eq!(["seed-1", "seed-2"].map(|name| world.stage(name)), [stage; 2]);
        };
        for (act, steps, stage) in [
            (Germinate, 21, SeedStageTraining),
            (Graft(9), 11, SeedStageBlending),
            (Stabilize, 31, SeedStageShadowing),
            (Evaluate, 41, SeedStageProbationary),
        ] {
            for name in ["seed-1", "seed-2"] {
                world.act(name, act.clone()).unwrap_or_else(|error| panic!("{act:?} of {name}: {error}"));
            }
            for _ in 0..steps {
                next(&mut world);
                expect(&world, stage);
            }
        }
        for name in ["seed-1", "seed-2"] {
            let probes = contribution(&world, name).probes();
            assert!(probes >= 3, "{probes}");
        }
    }
}
