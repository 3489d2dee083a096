//! What seeds are judged by: what they change, and nothing that is not their fault.

use std::time::Duration;

use kasmina_engine::{
    Decision, Event, Facts, Input, Refusal,
    commands::{BreakerName, Order},
    input::{Idle, KernelOrigin, Remains},
};
use kasmina_gates::GatePolicy;
use kasmina_leyline::{
    SeedId,
    v1::{
        CircuitBreakerState::*,
        SeedLifecycleStage::{self, *},
    },
};
use kasmina_lifecycle::Outcome;

use crate::world::{Luck, Trouble, World, germinate, graft, reason, seed, settings};

/// The postponements that were emitted.
fn postponed(decisions: &[Decision]) -> Vec<&'static str> {
    let events = decisions.iter().flat_map(|decision| &decision.events);
    events
        .filter_map(|event| match event {
            Event::Postponed(verdict) => Some(verdict.reason),
            _ => None,
        })
        .collect()
}

/// A step in which each of these seeds changes the loss by about this much, from batch to batch a little more or less.
fn step_with(world: &mut World, changes: &[(&SeedId, f32)]) {
    let wobble = [0.02, -0.02, 0.01, -0.01, 0.0][(world.engine.state().run.step / 2 % 5) as usize];
    let differences = changes.iter().map(|(id, by)| ((*id).clone(), by + wobble)).collect();
    world.step(&Trouble { differences, ..Trouble::default() });
}

#[test]
fn harmful_seed_is_refused_and_helpful_one_beside_it_passes() {
    let mut world = World::strict(&[("good", "mid"), ("bad", "late")]);
    let (good, bad) = (seed("good"), seed("bad"));
    for id in [&good, &bad] {
        world.order(germinate(id));
        world.kernel_arrives(id);
    }
    let ask = |world: &mut World, id: &SeedId| match world.stage(id) {
        SeedStageTraining => world.order(graft(id)),
        SeedStageBlending => world.order(Order::Stabilize { seed: id.clone() }),
        SeedStageShadowing => world.order(Order::Evaluate { seed: id.clone() }),
        _ => world.order(Order::Fossilize { seed: id.clone() }),
    };
    let mut refused = None;
    for _ in 0..400 {
        step_with(&mut world, &[(&good, 0.1), (&bad, -0.1)]);
        for id in [&good, &bad] {
            if let Err(Refusal::GateFailed(verdict)) = ask(&mut world, id).answer {
                refused = refused.or(Some(verdict));
            }
        }
    }
    let verdict = refused.expect("a refusal");
    assert_eq!((&verdict.seed_id, verdict.reason), (&bad, "contribution_negative"));
    let contribution: f64 = verdict.attributes.get("contribution").unwrap().parse().unwrap();
    assert!((contribution + 0.1).abs() < 0.02, "{verdict:?}");
    assert_eq!(world.stage(&good), SeedStageFossilized);
    assert_ne!(world.stage(&bad), SeedStageFossilized);
}

#[test]
fn neutral_seed_is_neither_fossilized_nor_culled() {
    let mut world = World::strict(&[("a", "mid")]);
    let a = seed("a");
    world.grow(&a, SeedStageProbationary);
    world.luck.seed_loss = world.luck.loss;
    // Whatever was measured before counts no more.
    world.order(Order::FineTune { seed: a.clone(), steps: 1 });
    for _ in 0..200 {
        world.plain_step();
        let answer = world.order(Order::Fossilize { seed: a.clone() }).answer.unwrap_err();
        assert!(matches!(answer, Refusal::Postponed(_) | Refusal::NotMeasured { .. }), "{answer}");
    }
    assert_eq!(world.order(Order::Fossilize { seed: a.clone() }).answer.unwrap_err().reason(), "not_significant");
    assert_eq!(world.stage(&a), SeedStageProbationary);
}

#[test]
fn policy_that_asks_after_every_step_is_told_a_reason_once() {
    let mut world = World::strict(&[("a", "mid")]);
    let a = seed("a");
    world.grow(&a, SeedStageShadowing);
    let mut asked = Vec::new();
    while world.stage(&a) == SeedStageShadowing && asked.len() < 100 {
        asked.push(world.order(Order::Evaluate { seed: a.clone() }));
        world.plain_step();
    }
    assert!(asked.len() > 10);
    assert_eq!(postponed(&asked), ["too_few_probes"]);
    let unchanged = asked[1..asked.len() - 1].iter().all(|decision| decision.delta.is_empty());
    assert!(unchanged, "a postponement that was emitted before changes nothing");
    // The next stage is another matter.
    let asked = [world.order(Order::Fossilize { seed: a.clone() }), world.order(Order::Fossilize { seed: a })];
    assert_eq!(postponed(&asked), ["too_few_probes"]);
}

#[test]
fn what_is_not_the_seeds_fault_postpones_and_never_culls() {
    type Spoil = fn(&mut World);
    let open: Spoil = |world| {
        let breaker = BreakerName::Telemetry;
        world.order(Order::CircuitBreaker { breaker, state: CircuitStateOpen });
    };
    type Case = (SeedLifecycleStage, fn(&SeedId) -> Order, Spoil, &'static str);
    let cases: [Case; 9] = [
        (SeedStageTraining, graft, |world| world.luck.origin = None, "origin_not_measured"),
        (SeedStageBlending, stabilize, |world| world.luck.packets = (2, 1), "telemetry_incomplete"),
        (SeedStageBlending, stabilize, |world| world.luck.origin = None, "origin_not_measured"),
        (SeedStageShadowing, evaluate, |_| {}, "too_few_probes"),
        (SeedStageShadowing, evaluate, open, "breaker_open"),
        (SeedStageShadowing, evaluate, |world| world.luck.origin = None, "origin_not_measured"),
        (SeedStageProbationary, fossilize, |_| {}, "too_few_probes"),
        (SeedStageProbationary, fossilize, open, "breaker_open"),
        (SeedStageProbationary, fossilize, |world| world.luck.origin = None, "origin_not_measured"),
    ];
    for (stage, order, spoil, expected) in cases {
        let mut world = World::new();
        let a = seed("a");
        world.grow(&a, stage);
        if stage == SeedStageBlending {
            (0..2).for_each(|_| drop(world.plain_step()));
        }
        spoil(&mut world);
        let decision = world.order(order(&a));
        let Err(Refusal::Postponed(verdict)) = &decision.answer else { panic!("{:?}", decision.answer) };
        assert_eq!((verdict.reason, verdict.outcome), (expected, Outcome::Postponed));
        assert_eq!((world.stage(&a), &decision.effects[..]), (stage, &[][..]), "{expected}");
        if matches!(stage, SeedStageShadowing | SeedStageProbationary) && expected != "origin_not_measured" {
            assert!(verdict.attributes.contains_key("contribution"), "{verdict:?}");
        }
    }
}

fn stabilize(id: &SeedId) -> Order {
    Order::Stabilize { seed: id.clone() }
}

fn evaluate(id: &SeedId) -> Order {
    Order::Evaluate { seed: id.clone() }
}

fn fossilize(id: &SeedId) -> Order {
    Order::Fossilize { seed: id.clone() }
}

#[test]
fn fallback_is_refused_at_every_gate_that_sees_a_kernel() {
    for (stage, order) in [
        (SeedStageTraining, graft as fn(&SeedId) -> Order),
        (SeedStageBlending, stabilize),
        (SeedStageShadowing, evaluate),
        (SeedStageProbationary, fossilize),
    ] {
        let mut world = World::new();
        let a = seed("a");
        world.grow(&a, stage);
        (0..3).for_each(|_| drop(world.plain_step()));
        world.luck.origin = Some(KernelOrigin::Fallback);
        assert_eq!((reason(&world.order(order(&a))), world.stage(&a)), ("fallback_used", SeedStageEmbargoed));
    }
    let mut world = World::new();
    world.luck.origin = Some(KernelOrigin::Fallback);
    world.order(germinate(&seed("a")));
    assert_eq!(reason(&world.kernel_arrives(&seed("a"))), "fallback_used");
}

#[test]
fn kernel_of_unknown_origin_waits_for_start_training() {
    let mut world = World::new();
    let a = seed("a");
    world.luck.origin = None;
    world.order(germinate(&a));
    assert_eq!(reason(&world.kernel_arrives(&a)), "origin_not_measured");
    assert_eq!((world.stage(&a), world.attached.contains(&a)), (SeedStageGerminated, true));
    world.luck = Luck::default();
    assert_eq!(reason(&world.order(Order::StartTraining { seed: a.clone() })), "ok");
    world.order(Order::Pause { seed: a.clone() });
    world.luck.origin = None;
    assert_eq!(reason(&world.order(Order::Resume { seed: a.clone() })), "origin_not_measured");
    assert!(world.engine.state().seeds[&a].stage.graft().unwrap().paused);
}

#[test]
fn idle_seed_is_named_once_and_not_grafted_until_it_learns() {
    let mut world = World::strict(&[("a", "mid"), ("c", "late")]);
    let (a, c) = (seed("a"), seed("c"));
    world.grow(&a, SeedStageTraining);
    world.grow(&c, SeedStageTraining);
    let trouble = |idle| Trouble { idle, ..Trouble::default() };
    let unused = trouble(vec![(a.clone(), Idle::SlotUnused)]);
    let steps: Vec<Decision> = (0..20).flat_map(|_| world.step(&unused)).collect();
    let named = steps.iter().flat_map(|decision| &decision.events).filter_map(|event| match event {
        Event::Idle { seed, slot, reason } => Some((seed.as_str(), slot.as_str(), reason.reason())),
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), [("a", "mid", "slot_unused")]);
    assert_eq!((reason(&world.order(graft(&a))), world.stage(&a)), ("slot_unused", SeedStageTraining));
    assert_eq!(reason(&world.order(graft(&c))), "ok");
    world.step(&trouble(vec![(a.clone(), Idle::SlotNotReached)]));
    assert_eq!(reason(&world.order(graft(&a))), "slot_not_reached");
    world.plain_step();
    assert_eq!(reason(&world.order(graft(&a))), "ok");
}

#[test]
fn weak_gradient_postpones_and_strong_one_is_refused() {
    for (seeds, host, expected) in [
        (None, Some(1.0), "gradient_not_measured"),
        (Some(1e-9), Some(1.0), "gradient_too_small"),
        (Some(1.0), None, "host_gradient_not_measured"),
        (Some(11.0), Some(1.0), "gradient_ratio"),
        (Some(11.0), Some(1e-9), "ok"),
        (Some(9.0), Some(1.0), "ok"),
    ] {
        let mut world = World::strict(&[("a", "mid")]);
        let a = seed("a");
        (world.luck.gradient_norm, world.luck.host_gradient_norm) = (seeds, host);
        world.grow(&a, SeedStageTraining);
        (0..8).for_each(|_| drop(world.plain_step()));
        assert_eq!(reason(&world.order(graft(&a))), expected);
        let culled = expected == "gradient_ratio";
        assert_eq!(world.stage(&a) == SeedStageEmbargoed, culled, "{expected}");
    }
}

#[test]
fn rising_loss_of_the_host_is_not_a_training_seeds_fault() {
    let mut world = World::strict(&[("a", "mid")]);
    let a = seed("a");
    world.grow(&a, SeedStageTraining);
    for step in 0..50 {
        world.luck.loss = 1.0 + step as f32;
        world.plain_step();
    }
    assert!(world.engine.state().seeds[&a].stage.graft().unwrap().vitals.losses.is_empty());
    assert_eq!(reason(&world.order(graft(&a))), "ok");
    // Nor is the history that was.
    (0..3).for_each(|_| drop(world.plain_step()));
    assert_eq!(world.stage(&a), SeedStageBlending);
    assert_eq!(world.engine.state().run.hunt, None);
}

#[test]
fn culprit_of_a_loss_that_is_no_number_is_culled_alone() {
    let mut world = World::strict(&[("a", "mid"), ("c", "late")]);
    let (a, c) = (seed("a"), seed("c"));
    world.grow(&a, SeedStageBlending);
    world.grow(&c, SeedStageBlending);
    world.step(&Trouble { culprits: vec![a.clone()], ..Trouble::default() });
    assert_eq!((world.stage(&a), world.stage(&c)), (SeedStageEmbargoed, SeedStageBlending));
    assert!(world.seen.contains("culled loss_not_finite"));
}

#[test]
fn probe_that_is_no_number_counts_against_the_seed_alone() {
    let mut world = World::strict(&[("a", "mid")]);
    let a = seed("a");
    world.grow(&a, SeedStageShadowing);
    // The batch is broken without the seed too.
    world.luck.loss = f32::NAN;
    (0..4).for_each(|_| drop(world.plain_step()));
    assert_eq!(world.stage(&a), SeedStageShadowing);
    world.luck = Luck { seed_loss: f32::NAN, ..Luck::default() };
    (0..4).for_each(|_| drop(world.plain_step()));
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn pause_is_proven_once_when_the_blend_is_complete() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageBlending);
    world.plain_step();
    let early = world.order(stabilize(&a));
    assert_eq!(reason(&early), "blending_incomplete");
    world.plain_step();
    world.luck.pause_proven = false;
    assert_eq!(reason(&world.order(stabilize(&a))), "ok", "the proof is in the record");
}

#[test]
fn reset_refuses_remains_and_retries_what_is_unmeasured() {
    let culled = |luck| {
        let mut world = World::new();
        world.grow(&seed("a"), SeedStageTraining);
        world.cull(&seed("a"), 0);
        world.luck = luck;
        world.pass_time(Duration::from_secs(31));
        world
    };
    let left =
        |kernels, cached, packets| Luck { remains: Some(Remains { kernels, cached, packets }), ..Luck::default() };
    for luck in [left(1, 0, 0), left(0, 1, 0), left(0, 0, 1)] {
        let mut world = culled(luck);
        assert_eq!(world.stage(&seed("a")), SeedStageResetting);
        world.luck = Luck::default();
        world.pass_time(Duration::from_secs(1));
        assert_eq!(world.stage(&seed("a")), SeedStageResetting, "a refusal stands");
    }
    let mut world = culled(Luck { remains: None, ..Luck::default() });
    assert!(world.seen.contains("postponed remains_not_measured"));
    world.pass_time(Duration::from_secs(1));
    assert_eq!(world.stage(&seed("a")), SeedStageResetting);
    world.luck = Luck::default();
    world.pass_time(Duration::from_secs(1));
    assert_eq!(world.stage(&seed("a")), SeedStageDormant);
}

#[test]
fn unmeasured_facts_postpone_with_any_gatekeeper() {
    let mut world = World::of(settings(), GatePolicy::default(), &[]);
    world.engine = kasmina_engine::Engine::new(settings(), kasmina_gates::doubles::AllowAll);
    let _ = world.act(Input::Register(seed("a"), kasmina_leyline::SlotId::new("mid").unwrap()));
    let a = seed("a");
    world.grow(&a, SeedStageBlending);
    (0..2).for_each(|_| drop(world.plain_step()));
    let facts = world.facts(&Input::Order(stabilize(&a)));
    let decide = |facts: &Facts| reason(&world.engine.decide(Input::Order(stabilize(&a)), facts, world.now));
    assert_eq!(decide(&Facts { origins: Default::default(), ..facts.clone() }), "origin_not_measured");
    assert_eq!(decide(&Facts { ownership: Default::default(), ..facts.clone() }), "ownership_not_measured");
    assert_eq!(decide(&Facts { packets: None, ..facts.clone() }), "telemetry_not_measured");
    assert_eq!(decide(&facts), "ok");
}
