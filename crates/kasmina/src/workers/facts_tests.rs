//! What several workers make of what each of them has seen.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, time::Duration};

use kasmina_engine::input::{Fault, HostPassFacts, Idle, LearningFacts, ProbeFacts, Violation};
use kasmina_leyline::{SeedId, SlotId};

use super::facts::{HostPassed, LearningPassed, Probed, Probing, proven};

fn seed(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

fn fault(name: &str) -> Fault {
    Fault { seed: seed(name), slot: SlotId::new("mid").unwrap(), reason: "kernel_panicked", detail: "why".to_owned() }
}

fn learned(loss: f32, learners: &[&str], culprits: &[&str]) -> LearningFacts {
    LearningFacts {
        loss: Some(loss),
        learners: learners.iter().map(|name| seed(name)).collect(),
        culprits: culprits.iter().map(|name| seed(name)).collect(),
        ..LearningFacts::default()
    }
}

fn agree_on_learning(all: &[LearningFacts]) -> (LearningFacts, bool) {
    let left_out = |facts: &LearningFacts| {
        let faulty = facts.faults.iter().map(|fault| fault.seed.clone());
        facts.culprits.iter().cloned().chain(faulty).collect()
    };
    let passed: Vec<_> = all.iter().map(|facts| LearningPassed::new(facts, left_out(facts))).collect();
    let agreed = LearningPassed::agree(&passed, &all[0]);
    (agreed.facts, agreed.alike)
}

#[test]
fn workers_that_left_out_the_same_seeds_learn_together() {
    let (facts, alike) = agree_on_learning(&[learned(1.0, &["a"], &["c"]), learned(2.0, &["b"], &["c"])]);
    assert!(alike);
    assert_eq!((facts.loss, facts.learners), (Some(1.5), BTreeSet::from([seed("a"), seed("b")])));
    assert_eq!(facts.culprits, [seed("c")]);
}

#[test]
fn workers_that_left_out_different_seeds_learn_nothing_and_cull_all_culprits() {
    let (facts, alike) = agree_on_learning(&[learned(1.0, &["a"], &[]), learned(2.0, &["a"], &["c"])]);
    assert!(!alike);
    assert_eq!((facts.loss, facts.learners.len(), facts.culprits), (None, 0, vec![seed("c")]));
    let faulty = LearningFacts { faults: vec![fault("b")], ..learned(2.0, &["a"], &[]) };
    assert!(!agree_on_learning(&[learned(1.0, &["a"], &[]), faulty]).1);
}

#[test]
fn fault_of_another_worker_has_its_reason_in_the_detail() {
    let own = HostPassFacts { faults: vec![fault("a")], ..HostPassFacts::default() };
    let other = HostPassFacts { faults: vec![fault("a"), fault("b")], ..HostPassFacts::default() };
    let passed = |facts| HostPassed::new(1.0, None, Duration::ZERO, facts);
    let agreed = HostPassed::agree(&[passed(&own), passed(&other)], &own);
    let reasons: Vec<_> = agreed.facts.faults.iter().map(|fault| (fault.seed.as_str(), fault.reason)).collect();
    assert_eq!(reasons, [("a", "kernel_panicked"), ("b", "fault_on_another_worker")]);
    assert_eq!(agreed.facts.faults[1].detail, "kernel_panicked: why");
}

#[test]
fn violation_counts_once_and_a_seed_is_idle_only_if_it_is_everywhere() {
    let violation =
        Violation { seed: seed("v"), pass: Violation::HOST, shared: 1, cosine: Some(0.5), dot_product: None };
    let facts = |idle: &[(&str, Idle)]| HostPassFacts {
        violations: vec![violation.clone()],
        idle: idle.iter().map(|(name, idle)| (seed(name), *idle)).collect(),
        ..HostPassFacts::default()
    };
    let one = facts(&[("a", Idle::SlotNotReached), ("b", Idle::SlotNotReached)]);
    let other = facts(&[("a", Idle::SlotUnused)]);
    let passed = |facts| HostPassed::new(1.0, None, Duration::ZERO, facts);
    let agreed = HostPassed::agree(&[passed(&one), passed(&other)], &one).facts;
    assert_eq!(agreed.violations, [violation]);
    assert_eq!(agreed.idle, [(seed("a"), Idle::SlotUnused)]);
}

#[test]
fn probe_is_the_mean_over_those_whose_batch_says_something() {
    let measured =
        |without, with| Probing::Measured(ProbeFacts { without, with, blend_latency: None, faults: Vec::new() });
    let agree = |all: &[Probing]| {
        let probed: Vec<_> = all.iter().map(Probed::new).collect();
        Probed::agree(&probed, &all[0])
    };
    let agreed = agree(&[Probing::Nothing, measured(1.0, Some(0.5)), measured(3.0, Some(1.5))]);
    assert!(matches!(agreed, Probing::Measured(ProbeFacts { without: 2.0, with: Some(1.0), .. })));
    // One worker's kernel could not do its part.
    let agreed = agree(&[measured(1.0, Some(0.5)), measured(3.0, None)]);
    assert!(matches!(agreed, Probing::Measured(ProbeFacts { without: 2.0, with: None, .. })));
    let agreed = agree(&[measured(1.0, Some(0.5)), Probing::Broken(vec![seed("a")])]);
    assert!(matches!(agreed, Probing::Broken(culprits) if culprits == [seed("a")]));
    assert!(matches!(agree(&[Probing::Nothing, Probing::Nothing]), Probing::Nothing));
    assert_eq!(proven(&[None, Some(true), Some(false)]), Some(false));
    assert_eq!(proven(&[None, None]), None);
}
