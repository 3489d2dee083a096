//! The suite, run by every gatekeeper of this crate, and what the doubles do besides.

use std::time::Duration;

use kasmina_gates::{
    AnyEvidence, GatePolicy, Gated, Gatekeepers, RefuseAll, SanityEvidence,
    conformance::{run, sound},
    doubles::{AllowAll, Scripted},
};
use kasmina_leyline::{Monotonic, SeedId, v1::SeedLifecycleGate::*, v1::SeedLifecycleStage::*};
use kasmina_lifecycle::{Finding, Gatekeeper, Germinate, Lifecycle, StartTraining, Subject};

#[test]
fn default_policy_conforms() {
    run(GatePolicy::default);
}

#[test]
fn refuse_all_conforms() {
    run(|| RefuseAll);
}

#[test]
fn allow_all_conforms() {
    run(|| AllowAll);
}

#[test]
fn scripted_double_conforms() {
    run(Scripted::default);
}

#[test]
fn boxed_policy_conforms() {
    run(|| -> Box<dyn Gatekeepers + Send + Sync> { Box::new(GatePolicy::default()) });
}

/// Passes whatever it is shown, stale evidence included.
#[derive(Debug)]
struct Careless;

impl<M: Gated> Gatekeeper<M> for Careless {
    type Evidence = M::Evidence;
    fn judge(&self, _: &Subject<'_>, _: &M::Evidence) -> Finding {
        Finding::pass()
    }
}

#[test]
#[should_panic(expected = "evidence of")]
fn gatekeeper_that_passes_stale_evidence_does_not_conform() {
    run(|| Careless);
}

fn germinate(keeper: &dyn Gatekeepers) -> (Lifecycle, Result<(), &'static str>) {
    let mut seed = Lifecycle::new(SeedId::new("seed-1").unwrap(), Duration::from_secs(30));
    seed.advance(SeedStageDormant, Monotonic::ORIGIN).unwrap();
    let approach = seed.approach::<Germinate>().unwrap();
    let judged = approach.judge(keeper, &sound::sanity(SeedStageDormant), Monotonic::ORIGIN);
    (seed, judged.map(|_| ()).map_err(|verdict| verdict.reason))
}

#[test]
fn gatekeeper_behind_a_pointer_moves_the_seed() {
    assert_eq!(germinate(&GatePolicy::default()).0.stage(), SeedStageGerminated);
    assert_eq!(germinate(&AllowAll).0.stage(), SeedStageGerminated);
    let (seed, refused) = germinate(&RefuseAll);
    assert_eq!((seed.stage(), refused), (SeedStageDormant, Err("no_gatekeeper")));
}

#[test]
fn scripted_double_answers_in_order_and_records_evidence() {
    let (keeper, script) = Scripted::pair();
    script.next(SeedGateG0Sanity, Finding::refuse("first"));
    script.next(SeedGateG0Sanity, Finding::pass());
    script.always(SeedGateG0Sanity, Finding::refuse("standing"));
    script.always(SeedGateG1GradientHealth, Finding::refuse("other_gate"));
    let answers: Vec<_> = (0..4).map(|_| germinate(&keeper).1).collect();
    assert_eq!(answers, [Err("first"), Ok(()), Err("standing"), Err("standing")]);

    let asked = script.take_asked();
    assert_eq!((asked.len(), asked[0].gate, asked[0].stage), (4, SeedGateG0Sanity, SeedStageDormant));
    assert_eq!(asked[0].evidence, AnyEvidence::Sanity(sound::sanity(SeedStageDormant)));
    assert_eq!(asked[0].finding.reason(), "first");
    assert_eq!(script.take_asked(), []);
}

#[test]
fn stale_evidence_uses_up_no_scripted_answer() {
    let (keeper, script) = Scripted::pair();
    script.next(SeedGateG1GradientHealth, Finding::refuse("scripted"));
    let seed_id = SeedId::new("seed-1").unwrap();
    let subject = Subject { seed_id: &seed_id, stage: SeedStageGerminated };
    let judge = |stage| Gatekeeper::<StartTraining>::judge(&keeper, &subject, &sound::gradient_health(stage));
    assert_eq!(judge(SeedStageTraining).reason(), "stage_mismatch");
    assert_eq!(judge(SeedStageGerminated).reason(), "scripted");
}

#[test]
fn policy_that_passes_everything_ignores_the_evidence() {
    let evidence = SanityEvidence { blueprint: None, ..sound::sanity(SeedStageDormant) };
    let seed_id = SeedId::new("seed-1").unwrap();
    let subject = Subject { seed_id: &seed_id, stage: SeedStageDormant };
    assert!(Gatekeeper::<Germinate>::judge(&AllowAll, &subject, &evidence).passed());
}
