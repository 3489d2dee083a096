//! Orders one by one: the answer, the next stage, the effects, and no effects after a refusal.

use std::collections::BTreeMap;

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_engine::{
    Effect, EngineSettings, Facts, Input, Observation, Policy, Stage, StepPolicy,
    commands::{BreakerName, Order},
    state::Validation,
};
use kasmina_leyline::v1::{CircuitBreakerState::*, SeedLifecycleStage::*};

use crate::world::{Luck, Trouble, World, germinate, graft, policy, reason, seed, settings};

#[test]
fn germinate_asks_for_the_kernel_and_its_arrival_leads_to_training() {
    let mut world = World::new();
    let a = seed("a");
    let germinated = world.order(germinate(&a));
    assert_eq!((reason(&germinated), world.stage(&a)), ("ok", SeedStageGerminated));
    assert!(matches!(&germinated.effects[..], [Effect::CountPackets { .. }, Effect::Fetch { .. }]));
    let arrived = world.kernel_arrives(&a);
    assert_eq!((reason(&arrived), world.stage(&a)), ("ok", SeedStageTraining));
    assert!(matches!(&arrived.effects[..], [Effect::Attach { .. }, Effect::CountPackets { .. }]));
}

#[test]
fn kernel_that_arrives_twice_or_too_late_is_ignored() {
    let mut world = World::new();
    let a = seed("a");
    world.order(germinate(&a));
    world.kernel_arrives(&a);
    assert_eq!(reason(&world.kernel_arrives(&a)), "wrong_stage");
    world.order(Order::Cull { seed: a.clone(), blend_out_steps: 0 });
    let late = world.kernel_arrives(&a);
    assert_eq!((reason(&late), late.delta.is_empty(), world.stage(&a)), ("wrong_stage", true, SeedStageEmbargoed));
}

#[test]
fn kernel_that_fails_culls_its_seed_and_counts_against_the_source() {
    let mut world = World::new();
    let (a, b) = (seed("a"), seed("b"));
    world.order(germinate(&a));
    assert_eq!(reason(&world.kernel_fails(&a, true)), "artifact_missing");
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
    for id in [&b, &seed("c")] {
        world.order(germinate(id));
        world.kernel_fails(id, true);
    }
    assert_eq!(world.engine.state().run.breakers.get(BreakerName::Kernels).state(), CircuitStateOpen);
}

#[test]
fn kernel_that_cannot_learn_is_culled_by_g1() {
    let mut world = World::new();
    let a = seed("a");
    world.luck = Luck { rehearsal: f32::NAN, ..Luck::default() };
    world.order(germinate(&a));
    let arrived = world.kernel_arrives(&a);
    assert_eq!((reason(&arrived), world.stage(&a)), ("loss_not_finite", SeedStageEmbargoed));
    assert!(matches!(&arrived.effects[..], [Effect::Attach { .. }, Effect::Detach { .. }]));
}

#[test]
fn every_gate_that_passes_after_training_saves_the_weights_it_judged() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageTraining);
    world.plain_step();
    world.plain_step();
    let saved =
        |decision: &kasmina_engine::Decision| decision.effects.contains(&Effect::SaveWeights { seed: seed("a") });
    assert!(saved(&world.order(graft(&a))));
    world.plain_step();
    world.plain_step();
    assert!(saved(&world.order(Order::Stabilize { seed: a.clone() })));
    world.plain_step();
    assert!(saved(&world.order(Order::Evaluate { seed: a.clone() })));
    (0..3).for_each(|_| drop(world.plain_step()));
    assert!(saved(&world.order(Order::Fossilize { seed: a.clone() })));
    assert!(!saved(&world.order(Order::Optimizer { seed: a, lr_scale: 2.0 })));
}

#[test]
fn gate_that_refuses_culls_and_the_slot_is_free_again() {
    let mut world = World::new();
    let (a, b) = (seed("a"), seed("b"));
    world.grow(&a, SeedStageBlending);
    world.luck.pause_proven = false;
    world.plain_step();
    world.plain_step();
    assert_eq!(reason(&world.order(germinate(&b))), "slot_taken");
    let refused = world.order(Order::Stabilize { seed: a.clone() });
    assert_eq!((reason(&refused), world.stage(&a)), ("pause_unproven", SeedStageEmbargoed));
    assert_eq!(refused.effects[..], [Effect::Detach { seed: a }]);
    assert_eq!(reason(&world.order(germinate(&b))), "ok");
}

#[test]
fn facts_that_are_missing_never_pass_a_gate() {
    let mut world = World::new();
    let a = seed("a");
    let germination = world.engine.decide(Input::Order(germinate(&a)), &Facts::default(), world.now);
    assert_eq!((reason(&germination), germination.delta.is_empty()), ("not_measured", true));
    world.grow(&a, SeedStageBlending);
    world.plain_step();
    world.plain_step();
    let order = Input::Order(Order::Stabilize { seed: a });
    let blind = world.engine.decide(order, &Facts::default(), world.now);
    assert!(blind.answer.is_err());
}

#[test]
fn paused_seed_moves_nowhere_until_it_is_resumed() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageTraining);
    world.plain_step();
    world.plain_step();
    assert_eq!(reason(&world.order(Order::Pause { seed: a.clone() })), "ok");
    assert_eq!(reason(&world.order(graft(&a))), "wrong_stage");
    assert_eq!(reason(&world.order(Order::Resume { seed: a.clone() })), "ok");
    assert_eq!(reason(&world.order(graft(&a))), "ok");
}

#[test]
fn three_violations_cull_the_seed_and_open_the_breaker() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageTraining);
    for _ in 0..2 {
        world.step(&Trouble { violating: vec![a.clone()], ..Trouble::default() });
        assert_eq!(world.stage(&a), SeedStageTraining);
        world.plain_step();
    }
    world.step(&Trouble { violating: vec![a.clone()], ..Trouble::default() });
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
    assert_eq!(world.engine.state().run.breakers.get(BreakerName::Isolation).state(), CircuitStateOpen);
    assert_eq!(reason(&world.order(germinate(&seed("c")))), "breaker_open");
}

#[test]
fn fossilize_waits_for_fine_tune_and_validation() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageProbationary);
    world.order(Order::FineTune { seed: a.clone(), steps: 2 });
    assert_eq!(reason(&world.order(Order::Fossilize { seed: a.clone() })), "not_measured");
    world.plain_step();
    world.plain_step();
    // The probes were of other weights.
    assert_eq!(reason(&world.order(Order::Fossilize { seed: a.clone() })), "too_few_probes");
    (0..3).for_each(|_| drop(world.plain_step()));
    let worse = Validation { name: "accuracy".to_owned(), host: 0.9, live: 0.1, higher_is_better: true };
    let _ = world.act(Input::Validation(vec![worse]));
    assert_eq!(reason(&world.order(Order::Fossilize { seed: a.clone() })), "metric_regressed");
}

#[test]
fn validation_from_before_an_order_about_the_live_network_is_dropped() {
    let b = seed("b");
    let orders = [
        Order::Pause { seed: b.clone() },
        Order::Cull { seed: b.clone(), blend_out_steps: 20 },
        Order::FineTune { seed: b.clone(), steps: 5 },
    ];
    for order in orders {
        let require = EngineSettings { require_validation: true, ..settings() };
        let mut world = World::of(require, policy(), &[("a", "one"), ("b", "two")]);
        let a = seed("a");
        world.grow(&a, SeedStageProbationary);
        world.grow(&b, SeedStageProbationary);
        (0..20).for_each(|_| drop(world.plain_step()));
        let better = Validation { name: "accuracy".to_owned(), host: 0.5, live: 0.9, higher_is_better: true };
        let _ = world.act(Input::Validation(vec![better]));
        assert_eq!(reason(&world.order(order.clone())), "ok");
        assert_eq!(reason(&world.order(Order::Fossilize { seed: a.clone() })), "not_measured", "{order:?}");
    }
}

/// The metrics are those of the network with all live seeds.
#[test]
fn helpful_seed_is_not_culled_for_the_metric_of_a_harmful_one() {
    let mut world = World::of(settings(), policy(), &[("a", "one"), ("b", "two")]);
    let (a, b) = (seed("a"), seed("b"));
    world.grow(&a, SeedStageProbationary);
    world.grow(&b, SeedStageProbationary);
    let differences = BTreeMap::from([(a.clone(), 0.3), (b.clone(), -3.0)]);
    let trouble = Trouble { differences, ..Trouble::default() };
    (0..40).for_each(|_| drop(world.step(&trouble)));
    let worse = Validation { name: "accuracy".to_owned(), host: 0.9, live: 0.1, higher_is_better: true };
    let _ = world.act(Input::Validation(vec![worse.clone()]));
    drop(world.order(Order::Fossilize { seed: a.clone() }));
    assert_eq!(world.stage(&a), SeedStageProbationary, "{:?}", world.last);
    assert_eq!(reason(&world.order(Order::Fossilize { seed: b.clone() })), "contribution_negative");
    // Alone, it answers for them.
    let _ = world.act(Input::Validation(vec![worse]));
    assert_eq!(reason(&world.order(Order::Fossilize { seed: a.clone() })), "metric_regressed");
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
}

#[test]
fn rollback_holds_every_other_order_until_it_is_done() {
    let mut world = World::new();
    let a = seed("a");
    assert_eq!(reason(&world.order(Order::Rollback { epoch: 0 })), "unknown_checkpoint");
    world.checkpoint();
    world.grow(&a, SeedStageTraining);
    assert_eq!(reason(&world.order(Order::Rollback { epoch: 0 })), "ok");
    assert_eq!(reason(&world.order(Order::Cull { seed: a.clone(), blend_out_steps: 0 })), "rollback_pending");
    assert_eq!(reason(&world.order(Order::Emergency { include_teacher: false })), "ok");
    let state = Box::new(world.checkpoints[&0].clone());
    world.attached.clear();
    let _ = world.act(Input::RolledBack(0, state));
    assert_eq!((world.stage(&a), world.engine.state().run.rollback), (SeedStageDormant, None));
}

#[test]
fn seed_that_is_terminated_stays_so_and_frees_its_slot() {
    let mut world = World::new();
    let (a, b) = (seed("a"), seed("b"));
    world.grow(&a, SeedStageTraining);
    let ended = world.order(Order::Terminate { seed: a.clone() });
    assert_eq!((reason(&ended), &ended.effects[..]), ("ok", &[Effect::Detach { seed: a.clone() }][..]));
    assert_eq!(reason(&world.order(germinate(&a))), "illegal_transition");
    assert_eq!(reason(&world.order(germinate(&b))), "ok");
    assert!(matches!(world.engine.state().seeds[&a].stage, Stage::Terminated));
}

#[test]
fn slot_holds_one_live_seed_even_if_every_gate_allows_it() {
    let mut world = World::new();
    world.engine = kasmina_engine::Engine::new(crate::world::settings(), kasmina_gates::doubles::AllowAll);
    world.stages.clear();
    for id in ["a", "b"] {
        let _ = world.act(Input::Register(seed(id), kasmina_leyline::SlotId::new("mid").unwrap()));
    }
    assert_eq!(reason(&world.order(germinate(&seed("a")))), "ok");
    let second = world.order(germinate(&seed("b")));
    assert_eq!((reason(&second), second.delta.is_empty()), ("slot_taken", true));
}

#[test]
fn number_that_no_command_could_say_is_refused() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageProbationary);
    for lr_scale in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let before = world.engine.state().clone();
        assert_eq!(
            reason(&world.order(Order::Optimizer { seed: a.clone(), lr_scale })),
            "malformed_command",
            "{lr_scale}"
        );
        let mut germinate = germinate(&seed("c"));
        if let Order::Germinate { lr_scale: scale, .. } = &mut germinate {
            *scale = lr_scale;
        }
        assert_eq!(reason(&world.order(germinate)), "malformed_command", "{lr_scale}");
        assert_eq!(world.engine.state(), &before);
    }
    for steps in [0, (1 << 24) + 1] {
        assert_eq!(reason(&world.order(Order::FineTune { seed: a.clone(), steps })), "malformed_command", "{steps}");
    }
}

#[test]
fn channel_blend_waits_until_the_host_has_shown_its_slot() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageTraining);
    world.plain_step();
    world.plain_step();
    let blend = |alphas: usize| Order::StartGrafting {
        seed: seed("a"),
        blend: kasmina_blending::BlendConfig::channel(vec![0.5; alphas]).unwrap(),
        schedule: kasmina_blending::AlphaSchedule::Linear { total_steps: 2 },
    };
    let unseen = world.engine.decide(Input::Order(blend(3)), &Facts::default(), world.now);
    assert_eq!((reason(&unseen), unseen.delta.is_empty()), ("not_measured", true));
    assert_eq!(reason(&world.order(blend(3))), "malformed_command");
    assert_eq!(reason(&world.order(blend(4))), "ok");
}

#[test]
fn step_policy_lets_a_seed_learn_at_full_strength_before_it_stabilizes_it() {
    let schedule = AlphaSchedule::Linear { total_steps: 2 };
    let mut policy = StepPolicy {
        training_steps: 1,
        blending_steps: 5,
        shadowing_steps: 1,
        probationary_steps: 1,
        blend: BlendConfig::residual(),
        schedule,
    };
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageBlending);
    let mut asked = |world: &World| {
        let seen = Observation { state: world.engine.state(), host_loss: 1.0, seeds: &[] };
        policy.orders(&seen)
    };
    let mut waited = 0;
    while asked(&world).is_empty() {
        world.plain_step();
        waited += 1;
    }
    assert_eq!((waited, asked(&world)), (5, vec![Order::Stabilize { seed: a.clone() }]));
    assert!(world.engine.state().holds_kernels());
    world.cull(&a, 0);
    assert!(asked(&world).is_empty() && !world.engine.state().holds_kernels());
}
