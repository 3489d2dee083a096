//! Deciding what happens to one seed allocates nothing.

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_engine::{Input, commands::Order};
use kasmina_leyline::v1::SeedLifecycleStage::{self, *};

use crate::world::{Trouble, World, policy, seed, settings};

/// What is allocated while the order is decided and committed, among other seeds; what it needs to know is measured before.
fn allocations(stage: SeedLifecycleStage, order: Order) -> u64 {
    let slots = [("a", "early"), ("b", "mid"), ("c", "late"), ("d", "last")];
    let mut world = World::of(settings(), policy(), &slots);
    ["b", "c", "d"].iter().for_each(|other| world.grow(&seed(other), SeedStageTraining));
    world.grow(&seed("a"), stage);
    (0..40).for_each(|_| drop(world.step(&Trouble::default())));
    let input = Input::Order(order);
    let facts = world.facts(&input);
    let counted = allocation_counter::measure(|| {
        let _ = world.engine.wants(&input, world.now);
        let decision = world.engine.decide(input.clone(), &facts, world.now);
        assert_eq!(decision.answer, Ok(()));
        world.engine.commit(decision.delta);
    });
    counted.count_total
}

#[test]
fn order_that_is_carried_out_allocates_nothing() {
    let a = || seed("a");
    let blend = BlendConfig::convex();
    let schedule = AlphaSchedule::Linear { total_steps: 100 };
    for (stage, order) in [
        (SeedStageTraining, Order::Pause { seed: a() }),
        (SeedStageTraining, Order::Optimizer { seed: a(), lr_scale: 0.5 }),
        (SeedStageTraining, Order::StartGrafting { seed: a(), blend, schedule }),
        (SeedStageBlending, Order::Pause { seed: a() }),
        (SeedStageBlending, Order::Stabilize { seed: a() }),
        (SeedStageBlending, Order::Cull { seed: a(), blend_out_steps: 4 }),
        (SeedStageProbationary, Order::FineTune { seed: a(), steps: 3 }),
    ] {
        assert_eq!(allocations(stage, order.clone()), 0, "{order:?}");
    }
}

/// The verdict of G4 has six values, and two of them lie in place.
#[test]
fn verdict_with_many_values_is_what_an_evaluation_allocates() {
    let evaluate = Order::Evaluate { seed: seed("a") };
    assert_eq!(allocations(SeedStageShadowing, evaluate), 2);
}
