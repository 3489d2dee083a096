//! Every pair of stages, and random walks over them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, time::Duration};

use kasmina_leyline::{
    Monotonic, SeedId,
    v1::{
        SeedLifecycleGate,
        SeedLifecycleStage::{self, *},
    },
};
use kasmina_lifecycle::*;
use proptest::prelude::*;

const EMBARGO: Duration = Duration::from_secs(30);
const NOW: Monotonic = Monotonic::from_millis(1_000);

/// Passes everybody or nobody.
struct Keeper {
    passes: bool,
    /// Instead of refusing.
    postpones: bool,
}

impl<M: GuardedMove> Gatekeeper<M> for Keeper {
    type Evidence = ();
    fn judge(&self, _: &Subject<'_>, (): &()) -> Finding {
        match (self.passes, self.postpones) {
            (true, _) => Finding::pass(),
            (false, true) => Finding::postpone("later"),
            (false, false) => Finding::refuse("closed"),
        }
    }
}

/// Every stage that the contract knows, found by asking for ever higher numbers.
fn stages() -> Vec<SeedLifecycleStage> {
    (0..1_000).filter_map(|number| SeedLifecycleStage::try_from(number).ok()).collect()
}

fn entry(from: SeedLifecycleStage, to: SeedLifecycleStage) -> Option<Move> {
    TABLE.into_iter().find(|entry| (entry.from, entry.to) == (from, to))
}

/// Brings the seed before whichever gate lies between the two stages.
fn pass(
    seed: &mut Lifecycle,
    to: SeedLifecycleStage,
    keeper_passes: bool,
    now: Monotonic,
) -> Option<Result<(Transition, Verdict), Verdict>> {
    fn judge<M: GuardedMove>(
        seed: &mut Lifecycle,
        passes: bool,
        now: Monotonic,
    ) -> Option<Result<(Transition, Verdict), Verdict>> {
        let approach = seed.approach::<M>().ok()?;
        Some(approach.judge(&Keeper { passes, postpones: false }, &(), now))
    }
    macro_rules! try_moves {
        ($($guarded:ty),*) => {$(
            if (seed.stage(), to) == (<$guarded>::FROM, <$guarded>::TO) {
                return judge::<$guarded>(seed, keeper_passes, now);
            }
        )*};
    }
    try_moves!(Germinate, StartTraining, StartGrafting, Stabilize, Evaluate, Fossilize, Reset);
    None
}

/// A seed led to `stage` along the table's first path there.
fn seed_in(stage: SeedLifecycleStage) -> Lifecycle {
    let mut paths: Vec<Vec<SeedLifecycleStage>> = vec![vec![SeedStageUnknown]];
    let mut seen = BTreeSet::from([SeedStageUnknown as i32]);
    let path = loop {
        let path = paths.remove(0);
        let last = path[path.len() - 1];
        if last == stage {
            break path;
        }
        for entry in TABLE.iter().filter(|entry| entry.from == last) {
            if seen.insert(entry.to as i32) {
                paths.push(path.iter().copied().chain([entry.to]).collect());
            }
        }
    };
    let mut seed = Lifecycle::new(SeedId::new("seed-1").unwrap(), EMBARGO);
    for to in &path[1..] {
        let moved =
            seed.advance(*to, Monotonic::ORIGIN.after(EMBARGO * 2 * (seed.stage() == SeedStageEmbargoed) as u32));
        if moved.is_err() {
            pass(&mut seed, *to, true, Monotonic::ORIGIN).unwrap().unwrap();
        }
    }
    assert_eq!(seed.stage(), stage);
    seed
}

#[test]
fn contract_has_the_twelve_stages_of_the_table() {
    assert_eq!(stages().len(), 12);
    let mentioned: BTreeSet<i32> = TABLE.iter().flat_map(|entry| [entry.from as i32, entry.to as i32]).collect();
    assert_eq!(mentioned.len(), 12, "a stage is in no move");
}

#[test]
fn each_of_144_pairs_moves_as_the_table_says() {
    let late = NOW.after(EMBARGO);
    for from in stages() {
        for to in stages() {
            let mut seed = seed_in(from);
            let before = seed.clone();
            let advanced = seed.advance(to, late);
            match entry(from, to) {
                None => {
                    let refused = advanced.unwrap_err();
                    assert_eq!(refused.reason(), "illegal_transition", "{from:?} {to:?}");
                    assert_eq!(seed, before);
                    assert!(pass(&mut seed, to, true, late).is_none());
                    assert_eq!(seed, before);
                }
                Some(Move { gate: None, .. }) => {
                    let transition = advanced.unwrap();
                    assert_eq!(
                        (transition.from, transition.to, transition.gate, transition.at),
                        (from, to, None, late)
                    );
                    assert_eq!(seed.stage(), to);
                }
                Some(Move { gate: Some(gate), .. }) => {
                    assert_eq!(advanced.unwrap_err().reason(), "gate_required");
                    assert_eq!(seed, before);
                    let refused = pass(&mut seed, to, false, late).unwrap().unwrap_err();
                    assert_eq!((refused.outcome, refused.gate, refused.reason), (Outcome::Refused, gate, "closed"));
                    assert_eq!(seed, before);
                    let (transition, verdict) = pass(&mut seed, to, true, late).unwrap().unwrap();
                    assert_eq!((transition.from, transition.to, transition.gate), (from, to, Some(gate)));
                    assert_eq!(
                        (verdict.outcome, verdict.gate, &verdict.seed_id),
                        (Outcome::Passed, gate, seed.seed_id())
                    );
                    assert_eq!(seed.stage(), to);
                }
            }
        }
    }
}

#[test]
fn approaching_the_wrong_gate_is_refused() {
    let mut seed = seed_in(SeedStageTraining);
    let refused = seed.approach::<Fossilize>().map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "seed-1 cannot go from SEED_STAGE_TRAINING to SEED_STAGE_FOSSILIZED");
    assert_eq!(seed.stage(), SeedStageTraining);
}

#[test]
fn postponed_seed_stays_and_passes_when_asked_again() {
    let mut seed = seed_in(SeedStageShadowing);
    let before = seed.clone();
    let gate = |postpones: bool| Keeper { passes: !postpones, postpones };
    let verdict = seed.approach::<Evaluate>().unwrap().judge(&gate(true), &(), NOW).unwrap_err();
    assert_eq!((verdict.outcome, verdict.reason, verdict.passed()), (Outcome::Postponed, "later", false));
    assert_eq!(seed, before);
    assert!(seed.approach::<Evaluate>().unwrap().judge(&gate(false), &(), NOW).is_ok());
}

#[test]
fn embargo_ends_by_the_injected_clock() {
    let mut seed = seed_in(SeedStageCulled);
    seed.advance(SeedStageEmbargoed, NOW).unwrap();
    let until = NOW.after(EMBARGO);
    assert_eq!(seed.embargo_until(), Some(until));
    assert_eq!(seed.embargo_left(NOW), Some(EMBARGO));
    assert_eq!(seed.embargo_left(until.after(EMBARGO)), Some(Duration::ZERO));
    let early = Monotonic::from_nanos(until.as_nanos() - 1);
    assert_eq!(
        seed.advance(SeedStageResetting, early),
        Err(IllegalTransition::Embargoed { seed_id: seed.seed_id().clone(), now: early, until })
    );
    assert_eq!(seed.stage(), SeedStageEmbargoed);
    seed.advance(SeedStageResetting, until).unwrap();
    assert_eq!(seed.embargo_until(), None);
}

#[test]
fn embargoed_seed_can_be_terminated() {
    let mut seed = seed_in(SeedStageEmbargoed);
    assert!(seed.advance(SeedStageTerminated, Monotonic::ORIGIN).is_ok());
}

#[test]
fn transition_survives_json() {
    let mut seed = seed_in(SeedStageDormant);
    let (guarded, _) = pass(&mut seed, SeedStageGerminated, true, NOW).unwrap().unwrap();
    let free = seed.advance(SeedStageCulled, NOW).unwrap();
    for transition in [guarded, free] {
        let text = serde_json::to_string(&transition).unwrap();
        assert_eq!(serde_json::from_str::<Transition>(&text).unwrap(), transition, "{text}");
    }
}

#[test]
fn transition_with_unknown_stage_or_bad_id_is_refused() {
    let stored = |seed: &str, from: i32| {
        let text = format!(r#"{{"seed_id":"{seed}","from":{from},"to":2,"gate":null,"at":5}}"#);
        serde_json::from_str::<Transition>(&text).map_err(|error| error.to_string())
    };
    assert!(stored("seed-1", 1).is_ok());
    assert!(stored("seed-1", 99).unwrap_err().starts_with("99 is not a value of this enum"));
    assert!(stored("", 1).unwrap_err().starts_with("SeedId is empty"));
}

#[test]
fn illegal_transition_survives_json() {
    let refused = seed_in(SeedStageTraining).advance(SeedStageBlending, NOW).unwrap_err();
    let text = serde_json::to_string(&refused).unwrap();
    assert_eq!(serde_json::from_str::<IllegalTransition>(&text).unwrap(), refused);
}

#[test]
fn verdict_is_written_with_gate_number_and_reason() {
    let finding = Finding::refuse("slot_taken").with("slot", "mid");
    let verdict = finding.into_verdict(&SeedId::new("seed-1").unwrap(), SeedLifecycleGate::SeedGateG0Sanity);
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&json["gate"], &json["reason"]), (&(verdict.gate as i32).into(), &"slot_taken".into()));
    assert_eq!((&json["outcome"], &json["attributes"]["slot"]), (&"refused".into(), &"mid".into()));
}

#[test]
fn resumed_seed_keeps_stage_and_embargo_left() {
    let id = SeedId::new("seed-1").unwrap();
    let now = Monotonic::from_millis(5);
    let resumed = |stage, left| Lifecycle::resumed(id.clone(), stage, EMBARGO, left, now);
    for stage in (0..12).map(|stage| SeedLifecycleStage::try_from(stage).unwrap()) {
        let seed = resumed(stage, Some(Duration::from_secs(7)));
        assert_eq!(seed.stage(), stage);
        let until = (stage == SeedLifecycleStage::SeedStageEmbargoed).then(|| now.after(Duration::from_secs(7)));
        assert_eq!(seed.embargo_until(), until);
        assert_eq!(seed.embargo_left(now), until.map(|until| until.since(now)));
    }
    for left in [None, Some(Duration::MAX)] {
        let seed = resumed(SeedLifecycleStage::SeedStageEmbargoed, left);
        assert_eq!(seed.embargo_until(), Some(now.after(EMBARGO)));
    }
}

proptest! {
    /// Whatever is asked in whatever order, the seed only ever makes moves of the table, a guarded one only with its
    /// gate's pass, and leaves the embargo only after its end.
    #[test]
    fn random_walk_stays_on_the_table(
        steps in prop::collection::vec((0..12_i32, any::<bool>(), any::<bool>(), 0..40_000_u64), 1..120),
    ) {
        let mut seed = Lifecycle::new(SeedId::new("seed-1").unwrap(), EMBARGO);
        let mut now = Monotonic::ORIGIN;
        for (to, at_gate, passes, wait) in steps {
            now = now.after(Duration::from_millis(wait));
            let to = SeedLifecycleStage::try_from(to).unwrap();
            let before = seed.clone();
            let moved = if at_gate {
                pass(&mut seed, to, passes, now).and_then(Result::ok).map(|(transition, _)| transition)
            } else {
                seed.advance(to, now).ok()
            };
            match moved {
                None => prop_assert_eq!(&seed, &before),
                Some(transition) => {
                    let row = entry(transition.from, transition.to).unwrap();
                    prop_assert_eq!(transition.from, before.stage());
                    prop_assert_eq!(transition.gate, row.gate);
                    prop_assert_eq!(row.gate.is_some(), at_gate && passes);
                    prop_assert!(before.embargo_until().is_none_or(|until| to == SeedStageTerminated || now >= until));
                    prop_assert_eq!((seed.stage(), transition.at), (to, now));
                }
            }
        }
    }
}

#[test]
#[expect(clippy::result_large_err, reason = "as those of the crate")]
fn granted_move_is_made_later_and_by_that_seed_alone() {
    let at = |name: &str, stage| Lifecycle::resumed(SeedId::new(name).unwrap(), stage, EMBARGO, None, NOW);
    let grant = |seed: &mut Lifecycle, passes, postpones| {
        seed.approach::<Fossilize>().unwrap().grant(&Keeper { passes, postpones }, &())
    };
    let mut seed = at("seed-1", SeedStageProbationary);
    for postpones in [true, false] {
        let verdict = grant(&mut seed, false, postpones).unwrap_err();
        assert_eq!((verdict.passed(), seed.stage()), (false, SeedStageProbationary));
    }
    let (granted, verdict) = grant(&mut seed, true, false).unwrap();
    assert_eq!((verdict.passed(), verdict.gate), (true, Fossilize::GATE));
    assert_eq!(seed.stage(), SeedStageProbationary, "nothing has moved yet");

    let mut other = at("seed-2", SeedStageProbationary);
    let refused = other.complete(grant(&mut at("seed-1", SeedStageProbationary), true, false).unwrap().0, NOW);
    assert_eq!(refused.unwrap_err().reason(), "grant_of_another_seed");
    let mut culled = at("seed-1", SeedStageCulled);
    let refused = culled.complete(Grant::<Fossilize>::resumed(culled.seed_id().clone()), NOW);
    assert_eq!((refused.unwrap_err().reason(), culled.stage()), ("illegal_transition", SeedStageCulled));

    let moved = seed.complete(granted, NOW).unwrap();
    assert_eq!((moved.from, moved.to, moved.gate), (SeedStageProbationary, SeedStageFossilized, Some(Fossilize::GATE)));
    assert_eq!(seed.stage(), SeedStageFossilized);
}

#[test]
fn values_of_a_finding_are_kept_by_name_and_the_last_of_a_name_counts() {
    let long = "x".repeat(100);
    let finding = Finding::pass().with("steps", 7).with("loss", 0.5).with("detail", &long).with("steps", 8);
    let verdict = finding.into_verdict(&SeedId::new("seed-1").unwrap(), SeedLifecycleGate::SeedGateG0Sanity);
    let attributes = &verdict.attributes;
    assert_eq!(attributes.iter().collect::<Vec<_>>(), [("detail", long.as_str()), ("loss", "0.5"), ("steps", "8")]);
    assert_eq!((attributes.get("loss"), attributes.contains_key("loss")), (Some("0.5"), true));
    assert_eq!((attributes.get("slot"), attributes.contains_key("slot")), (None, false));
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["attributes"], serde_json::json!({ "detail": long, "loss": "0.5", "steps": "8" }));
}
