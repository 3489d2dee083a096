//! Several inputs that happen together or not at all.

use kasmina_engine::{Input, commands::Order};
use kasmina_leyline::v1::SeedLifecycleStage::*;
use proptest::prelude::*;

use crate::{
    model::orders,
    world::{World, germinate, seed},
};

#[test]
fn second_order_of_a_batch_sees_what_the_first_did() {
    let mut world = World::new();
    world.grow(&seed("a"), SeedStageTraining);
    let mut overlay = world.engine.overlay();
    let cull = Input::Order(Order::Cull { seed: seed("a"), blend_out_steps: 0 });
    let first = overlay.decide(cull.clone(), &Default::default(), world.now);
    overlay.adopt(&first);
    let second = overlay.decide(cull, &Default::default(), world.now);
    assert_eq!((first.answer, second.answer.unwrap_err().reason()), (Ok(()), "illegal_transition"));
}

#[test]
fn dropped_batch_leaves_no_trace() {
    let mut world = World::new();
    world.grow(&seed("a"), SeedStageTraining);
    let before = world.engine.state().clone();
    let mut overlay = world.engine.overlay();
    let decision = overlay.decide(
        Input::Order(Order::Cull { seed: seed("a"), blend_out_steps: 0 }),
        &Default::default(),
        world.now,
    );
    overlay.adopt(&decision);
    assert_eq!(overlay.seed(&seed("a")).unwrap().stage.leyline(), SeedStageEmbargoed);
    drop(overlay);
    assert_eq!(*world.engine.state(), before);
}

#[test]
fn two_seeds_cannot_germinate_at_one_slot_in_one_batch() {
    let world = World::new();
    let mut overlay = world.engine.overlay();
    let facts = world.facts(&Input::Order(germinate(&seed("a"))));
    let first = overlay.decide(Input::Order(germinate(&seed("a"))), &facts, world.now);
    overlay.adopt(&first);
    let second = overlay.decide(Input::Order(germinate(&seed("b"))), &facts, world.now);
    assert_eq!((first.answer, second.answer.unwrap_err().reason()), (Ok(()), "slot_taken"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batch_decides_as_orders_one_by_one_do(batch in prop::collection::vec(orders(), 1..12)) {
        let mut one_by_one = World::new();
        one_by_one.grow(&seed("a"), SeedStageTraining);
        one_by_one.grow(&seed("c"), SeedStageShadowing);
        let mut together = World::new();
        together.grow(&seed("a"), SeedStageTraining);
        together.grow(&seed("c"), SeedStageShadowing);

        let mut overlay = together.engine.overlay();
        for order in batch {
            let input = Input::Order(order.clone());
            let facts = one_by_one.facts(&input);
            prop_assert_eq!(overlay.wants(&input, together.now), one_by_one.engine.wants(&input, one_by_one.now));
            let decision = overlay.decide(input, &facts, together.now);
            overlay.adopt(&decision);
            prop_assert_eq!(decision, one_by_one.order(order));
        }
        let delta = overlay.into_delta();
        together.engine.commit(delta);
        prop_assert_eq!(together.engine.state(), one_by_one.engine.state());
    }
}
