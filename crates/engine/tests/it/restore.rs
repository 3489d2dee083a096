//! A state that another process left behind.

use std::time::Duration;

use kasmina_engine::{Deadline, Delta, State, commands::Order};
use kasmina_leyline::{Monotonic, v1::SeedLifecycleStage::*};

use crate::world::{EMBARGO, World, assert_same, seed};

impl World {
    /// Another process goes on from what was journaled. Its clock begins anew.
    pub fn restart(&mut self) {
        let bytes: Vec<Vec<u8>> = self.journal.iter().map(|delta| postcard::to_allocvec(delta).unwrap()).collect();
        let mut state = State::default();
        for bytes in bytes {
            state.apply(postcard::from_bytes::<Delta>(&bytes).unwrap());
        }
        let (then, before) = (self.now, self.engine.state().clone());
        assert_same(&state.seeds, &before.seeds, "the deltas are the whole story");
        self.now = Monotonic::ORIGIN.after(Duration::from_secs(7));
        self.engine.restore(state, then, self.now);
        let rebased = self.engine.state().clone();
        self.journal =
            vec![Delta { seeds: rebased.seeds.into_values().collect(), run: Some(rebased.run), ..Delta::default() }];
        // Checkpoints come from the store, which counts the same way.
        let breakers = self.engine.settings().breakers();
        for checkpoint in self.checkpoints.values_mut() {
            *checkpoint = std::mem::take(checkpoint).rebase(then, self.now, breakers);
        }
    }
}

#[test]
fn restored_embargo_goes_on_with_what_was_left() {
    let mut world = World::new();
    let a = seed("a");
    world.grow(&a, SeedStageTraining);
    world.pass_time(Duration::from_secs(100));
    world.order(Order::Cull { seed: a.clone(), blend_out_steps: 0 });
    world.pass_time(Duration::from_secs(10));
    world.restart();
    let left = EMBARGO - Duration::from_secs(10);
    assert_eq!(world.engine.state().next_deadline(), Some((world.now.after(left), Deadline::EmbargoEnds(a.clone()))));
    world.pass_time(left - Duration::from_nanos(1));
    assert_eq!(world.stage(&a), SeedStageEmbargoed);
    world.pass_time(Duration::from_nanos(1));
    assert_eq!(world.stage(&a), SeedStageDormant);
}

#[test]
fn restored_seed_in_every_stage_is_the_seed_that_was_stored() {
    let stages = [
        SeedStageDormant,
        SeedStageGerminated,
        SeedStageTraining,
        SeedStageBlending,
        SeedStageShadowing,
        SeedStageProbationary,
        SeedStageFossilized,
    ];
    for stage in stages {
        let mut world = World::new();
        world.grow(&seed("a"), stage);
        let before = world.engine.state().clone();
        world.restart();
        assert_eq!(world.engine.state().seeds, before.seeds, "{stage:?}");
    }
}
