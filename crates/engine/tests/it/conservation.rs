//! Conservative mode.

use kasmina_engine::{Decision, Effect, Event, Input, input::MemoryFacts};
use kasmina_leyline::v1::SeedLifecycleStage::*;

use crate::world::{World, germinate, reason, seed};

const SHORT: MemoryFacts = MemoryFacts { conserving: true, purge: false, held: 95, limit: 100 };
const ENOUGH: MemoryFacts = MemoryFacts { conserving: false, purge: false, held: 70, limit: 100 };

impl World {
    fn memory(&mut self, facts: MemoryFacts) -> Decision {
        self.act(Input::Memory(facts))
    }
}

#[test]
fn short_memory_postpones_germination_and_nothing_else() {
    let mut world = World::new();
    let (a, c) = (seed("a"), seed("c"));
    world.grow(&a, SeedStageTraining);
    let began = world.memory(SHORT);
    assert_eq!((&began.events[..], &began.effects[..]), (&[Event::ConservationBegan(SHORT)][..], &[][..]));

    let postponed = world.order(germinate(&c));
    assert_eq!((reason(&postponed), world.stage(&c)), ("memory_pressure", SeedStageDormant));
    assert!(postponed.effects.is_empty(), "no kernel is fetched");
    assert!(matches!(postponed.events.as_slice(), [Event::Postponed(verdict)] if verdict.seed_id == c));
    assert_eq!(reason(&world.order(germinate(&seed("b")))), "slot_taken", "and not memory_pressure");
    world.grow(&a, SeedStageFossilized);
}

#[test]
fn kernel_that_was_asked_for_before_is_still_taken() {
    let mut world = World::new();
    let a = seed("a");
    world.order(germinate(&a));
    world.memory(SHORT);
    assert_eq!(reason(&world.kernel_arrives(&a)), "ok");
    assert_eq!(world.stage(&a), SeedStageTraining);
}

#[test]
fn germination_goes_on_when_memory_suffices_again() {
    let mut world = World::new();
    let a = seed("a");
    world.memory(SHORT);
    world.order(germinate(&a));
    assert!(world.memory(MemoryFacts { held: 80, ..SHORT }).events.is_empty(), "it is told once");
    assert_eq!(world.memory(ENOUGH).events[..], [Event::ConservationEnded(ENOUGH)]);
    assert!(world.memory(ENOUGH).delta.is_empty(), "there is nothing to journal");
    world.grow(&a, SeedStageTraining);
}

#[test]
fn exceeded_hard_limit_purges_and_leaves_the_teacher() {
    let mut world = World::new();
    world.memory(SHORT);
    let purged = world.memory(MemoryFacts { purge: true, held: 101, ..SHORT });
    assert_eq!((&purged.effects[..], &purged.events[..]), (&[Effect::Purge { include_teacher: false }][..], &[][..]));
}

#[test]
fn another_process_measures_memory_anew() {
    let mut world = World::new();
    world.memory(SHORT);
    world.restart();
    assert!(!world.engine.state().run.conserving);
    world.grow(&seed("a"), SeedStageTraining);
}
