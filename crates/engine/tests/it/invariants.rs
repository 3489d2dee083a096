//! What must hold after every decision: property, and the check.

use std::collections::BTreeSet;

use kasmina_engine::{Decision, Effect, Event, Input, Refusal, Seed, Stage, State, seed::Turn};
use kasmina_leyline::v1::SeedLifecycleStage::{
    SeedStageFossilized, SeedStageGerminated, SeedStageResetting, SeedStageTerminated, SeedStageUnknown,
};
use kasmina_lifecycle::{TABLE, Transition};

use crate::world::{World, assert_same};

/// Checks every invariant of a world in which `decision` has just been committed on top of `before`.
pub fn hold(world: &mut World, before: &State, input: &Input, decision: &Decision) {
    moves_are_in_the_table(world, decision);
    guarded_moves_have_their_verdict(before, decision);
    events_tell_every_move(world, input);
    refusals_change_only_what_they_say(before, input, decision);
    kernels_are_where_the_effects_put_them(world);
    slots_hold_one_live_seed(world);
    fossils_stay(world, before, input);
    alpha_goes_one_way(world, before, input);
    postponements_are_emitted_once(before, decision);
    seeds_that_leave_do_not_learn(world, input);
    every_life_ends_once(world, before, decision);
    nobody_germinates_while_memory_is_short(world, before, input, decision);
    nothing_moves_but_by_its_delta(world, before, decision);
    records_go_only_if_asked(world, before, input);
}

/// A seed moves along the table, from where it stands.
fn moves_are_in_the_table(world: &mut World, decision: &Decision) {
    for moved in decision.transitions() {
        let stands = world.stages.get(&moved.seed_id).copied().unwrap_or(SeedStageUnknown);
        assert_eq!(stands, moved.from, "{moved:?}");
        let known = TABLE.iter().any(|entry| (entry.from, entry.to, entry.gate) == (moved.from, moved.to, moved.gate));
        assert!(known, "{moved:?} is not in the table");
        world.stages.insert(moved.seed_id.clone(), moved.to);
    }
}

/// A guarded move follows a verdict of its own gate for its own seed, that passed. That of FOSSILIZE came before.
fn guarded_moves_have_their_verdict(before: &State, decision: &Decision) {
    let mut last = None;
    for event in &decision.events {
        match event {
            Event::Judged(verdict) => last = Some(verdict),
            Event::Moved(moved) => {
                if moved.to == SeedStageFossilized {
                    assert!(before.seeds[&moved.seed_id].stage.joining().is_some());
                } else if let Some(gate) = moved.gate {
                    let verdict = last.take().expect("a guarded move without a verdict");
                    assert!(
                        verdict.passed() && verdict.gate == gate && verdict.seed_id == moved.seed_id,
                        "{verdict:?}"
                    );
                }
            }
            Event::Culled { .. }
            | Event::LifeEnded(_)
            | Event::EmbargoEnded(_)
            | Event::BlendConfigured { .. }
            | Event::Paused(_)
            | Event::Resumed(_)
            | Event::Breaker(..)
            | Event::Violated { .. }
            | Event::Faulted(_)
            | Event::SeedStepped(_)
            | Event::Postponed(_)
            | Event::Leaving { .. }
            | Event::Idle { .. }
            | Event::Probed { .. }
            | Event::Interacted { .. }
            | Event::HuntBegan { .. }
            | Event::HuntEnded { .. }
            | Event::SeedRolledBack { .. }
            | Event::EvidenceReset { .. }
            | Event::ConservationBegan(_)
            | Event::ConservationEnded(_) => {}
        }
    }
}

/// The stages that the events tell are the stages of the records, unless the run has gone back.
fn events_tell_every_move(world: &mut World, input: &Input) {
    let went_back = matches!(input, Input::RolledBack(..) | Input::Order(_) | Input::Command(..));
    for (id, seed) in &world.engine.state().seeds {
        let told = world.stages.insert(id.clone(), seed.stage.leyline());
        assert!(went_back || told == Some(seed.stage.leyline()), "{id}: told {told:?}, is {:?}", seed.stage.leyline());
    }
}

/// A refusal without a move leaves every seed as it was, but for the reason of a postponement. A breaker may have changed; a kernel that
/// arrived is attached whatever G1 says then.
fn refusals_change_only_what_they_say(before: &State, input: &Input, decision: &Decision) {
    if let Err(refusal) = &decision.answer {
        let moved: BTreeSet<_> = decision.transitions().map(|moved| &moved.seed_id).collect();
        for seed in decision.delta.seeds.values() {
            let id = &seed.id;
            if !moved.contains(id) && decision.effects.is_empty() {
                let was = before.seeds.get(id).cloned().map(|was| Seed { postponed: seed.postponed.clone(), ..was });
                assert_same(&was.as_ref(), &Some(seed), "a refusal without a move changes no seed");
            }
        }
        let culls = matches!(refusal, Refusal::GateFailed(_) | Refusal::Kernel(_));
        let arrived = matches!(input, Input::KernelReady(..)) && matches!(refusal, Refusal::Postponed(_));
        assert!(culls || arrived || decision.effects.is_empty(), "{refusal} has effects: {:?}", decision.effects);
    }
}

/// The kernels that the effects left attached are those of the seeds that have a graft.
fn kernels_are_where_the_effects_put_them(world: &World) {
    let grafted = world.engine.state().seeds.values().filter(|seed| seed.stage.graft().is_some());
    assert_eq!(grafted.map(|seed| seed.id.clone()).collect::<BTreeSet<_>>(), world.attached);
}

/// A seed that has, or waits for, a kernel of its own lives; the end of each life is told in the decision that ends it, and no other.
fn every_life_ends_once(world: &World, before: &State, decision: &Decision) {
    let life = |seed: &Seed| Some((seed.registered, seed.lives, seed.stage.blueprint().cloned()?));
    let lives = |seed: Option<&Seed>| seed.and_then(life);
    for (id, seed) in &world.engine.state().seeds {
        let told =
            decision.events.iter().filter(|event| matches!(event, Event::LifeEnded(ended) if ended.seed.id == *id));
        let (was, is) = (lives(before.seeds.get(id)), lives(Some(seed)));
        assert_eq!(told.count(), usize::from(was.is_some() && was != is), "{id}: {:?}", decision.events);
    }
}

/// A slot holds at most one seed that is not part of the host.
fn slots_hold_one_live_seed(world: &World) {
    let mut taken = BTreeSet::new();
    for seed in world.engine.state().seeds.values() {
        let live = matches!(
            seed.stage,
            Stage::Germinated(_)
                | Stage::Training(_)
                | Stage::Blending(..)
                | Stage::Shadowing(..)
                | Stage::Probationary(..)
        );
        assert!(!live || taken.insert(&seed.slot), "two live seeds at {}", seed.slot);
    }
}

/// A fossil moves nowhere until it is terminated, and the list of fossils has exactly the fossilized seeds.
fn fossils_stay(world: &World, before: &State, input: &Input) {
    let state = world.engine.state();
    let fossils: BTreeSet<_> = state.run.fossils.iter().collect();
    assert_eq!(fossils.len(), state.run.fossils.len(), "a fossil is listed twice");
    let fossilized = state.seeds.values().filter(|seed| seed.stage.leyline() == SeedStageFossilized);
    assert_eq!(fossilized.map(|seed| &seed.id).collect::<BTreeSet<_>>(), fossils);
    if !matches!(input, Input::RolledBack(..)) {
        let gone: BTreeSet<_> = before.terminated_fossils().map(|seed| &seed.id).collect();
        let settles = matches!(input, Input::ModelSettled { .. });
        let stayed: Vec<_> = before.run.fossils.iter().filter(|id| !settles || !gone.contains(id)).cloned().collect();
        assert!(state.run.fossils.starts_with(&stayed));
        let ended = before.seeds.values().filter(|seed| seed.stage.leyline() == SeedStageTerminated);
        for seed in ended {
            let stays = *input != Input::Forget(seed.id.clone());
            assert_same(
                &state.seeds.get(&seed.id),
                &stays.then_some(seed),
                "TERMINATED is final, and forgotten if asked",
            );
        }
    }
}

/// Alpha of a seed in the blend never falls, and that of one that leaves never rises, except by going back.
fn alpha_goes_one_way(world: &World, before: &State, input: &Input) {
    if matches!(input, Input::RolledBack(..) | Input::Order(_) | Input::Command(..)) {
        return;
    }
    for (id, seed) in &world.engine.state().seeds {
        let Some(was) = before.seeds.get(id) else { continue };
        if let (Stage::Blending(_, was), Stage::Blending(_, is)) = (&was.stage, &seed.stage) {
            assert!(was.alpha() <= is.alpha() && is.advanced - was.advanced <= 1);
        }
        match (was.stage.leaving(), seed.stage.leaving()) {
            (Some(was), Some(is)) => {
                assert!(is.alpha() <= was.alpha() && is.done - was.done <= 1 && !is.is_done(), "{is:?}");
            }
            (None, Some(_)) => panic!("{id} leaves without an order"),
            (Some(_), None) => assert!(!seed.stage.is_live(), "{id} has stopped leaving"),
            (None, None) => {}
        }
    }
}

/// A postponement moves nothing and culls nothing, and its reason is emitted when it is another one than before.
fn postponements_are_emitted_once(before: &State, decision: &Decision) {
    for event in &decision.events {
        if let Event::Postponed(verdict) = event {
            assert!(!verdict.passed());
            let left = |moved: &&Transition| moved.seed_id == verdict.seed_id && moved.to != SeedStageResetting;
            assert_eq!(decision.transitions().find(left), None, "{verdict:?}");
            let said = before.seeds.get(&verdict.seed_id).and_then(|seed| seed.postponed.as_deref());
            assert_ne!(said, Some(verdict.reason), "{verdict:?}");
        }
    }
    if let Err(Refusal::Postponed(verdict)) = &decision.answer {
        let said = decision.events.iter().any(|event| matches!(event, Event::Postponed(_)));
        let known = before.seeds[&verdict.seed_id].postponed.as_deref() == Some(verdict.reason);
        assert!(said != known, "{verdict:?}");
    }
}

/// A kernel on its way out is frozen: no loss is recorded for it and none of its weights is saved.
fn seeds_that_leave_do_not_learn(world: &World, input: &Input) {
    for seed in world.engine.state().seeds.values().filter(|seed| seed.stage.leaving().is_some()) {
        assert!(matches!(seed.stage.turn(), Turn::Leaves | Turn::None));
        if let Input::LearningPass(facts) = input {
            assert!(!facts.learners.contains(&seed.id));
        }
    }
}

/// In conservative mode no seed germinates; the mode is what was measured last, and measuring it moves nobody.
fn nobody_germinates_while_memory_is_short(world: &World, before: &State, input: &Input, decision: &Decision) {
    if before.run.conserving {
        let germinated = decision.transitions().find(|moved| moved.to == SeedStageGerminated);
        assert_eq!(germinated, None);
    }
    let mut measured = before.run.conserving;
    if let Input::Memory(facts) = input {
        assert!(decision.delta.seeds.is_empty(), "{:?}", decision.delta);
        let purges = vec![Effect::Purge { include_teacher: false }; usize::from(facts.purge)];
        assert_eq!(decision.effects[..], purges[..]);
        measured = facts.conserving;
    }
    assert_eq!(world.engine.state().run.conserving, measured);
    let told =
        decision.events.iter().any(|event| matches!(event, Event::ConservationBegan(_) | Event::ConservationEnded(_)));
    assert_eq!(told, measured != before.run.conserving, "each change is emitted once");
}

/// Nobody but a TERMINATED seed is forgotten.
fn records_go_only_if_asked(world: &mut World, before: &State, input: &Input) {
    let gone = before.seeds.values().filter(|seed| !world.engine.state().seeds.contains_key(&seed.id));
    for seed in gone.collect::<Vec<_>>() {
        assert_eq!((seed.stage.leyline(), input), (SeedStageTerminated, &Input::Forget(seed.id.clone())));
        world.stages.remove(&seed.id);
    }
}

/// The delta is all that changes.
fn nothing_moves_but_by_its_delta(world: &World, before: &State, decision: &Decision) {
    let mut applied = before.clone();
    applied.apply(decision.delta.clone());
    assert_same(&applied, world.engine.state(), "the delta is the change");
}
