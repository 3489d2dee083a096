//! What the evidence of a contribution is worth: how often a seed that changes nothing on average is judged wrongly although the gate is
//! asked after every probe, and how soon one that does is judged rightly.

use kasmina_gates::{Contribution, GatePolicy, KernelOrigin, SystemImpactEvidence};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{self, SeedStageProbationary, SeedStageShadowing},
};
use kasmina_lifecycle::{Evaluate, Finding, Fossilize, Gatekeeper, GuardedMove, Outcome, Subject};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand_distr::{Distribution, Exp1, Normal, StudentT};

/// Probes of one seed, at most.
const PROBES: u64 = 1_000;
const SIGNIFICANCE: f64 = 0.05;

/// A difference *loss without the seed - loss with it*, in standard deviations.
type Noise = fn(&mut TestRng) -> f64;

fn gaussian(rng: &mut TestRng) -> f64 {
    Normal::new(0.0, 1.0).unwrap().sample(rng)
}

fn student_t4(rng: &mut TestRng) -> f64 {
    // Its variance is 2.
    StudentT::new(4.0).unwrap().sample(rng) / 2.0_f64.sqrt()
}

fn skewed(rng: &mut TestRng) -> f64 {
    let drawn: f64 = Exp1.sample(rng);
    drawn - 1.0
}

fn rng(run: u64) -> TestRng {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&run.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &seed)
}

/// The loss without the seed is 1, and a standard deviation of the differences is a tenth of it.
fn record(contribution: &mut Contribution, difference: f64) {
    assert!(contribution.record(1.0, (1.0 - 0.1 * difference) as f32));
}

/// A gate's findings after each probe, by the default policy without tolerance, until one is final.
fn judged<M>(stage: SeedLifecycleStage, noise: impl Fn(&mut TestRng) -> f64, run: u64) -> (Outcome, &'static str, u64)
where
    GatePolicy: Gatekeeper<M, Evidence = SystemImpactEvidence>,
    M: GuardedMove,
{
    let mut policy = GatePolicy::default();
    (policy.system_impact.relative_tolerance, policy.system_impact.absolute_tolerance) = (0.0, 0.0);
    let (mut rng, seed_id) = (rng(run), SeedId::new("seed-1").unwrap());
    let mut evidence = SystemImpactEvidence {
        expected_stage: stage,
        origin: KernelOrigin::Verified,
        violations: 0,
        contribution: Contribution::default(),
        metrics: Vec::new(),
        other_seeds: 0,
    };
    // EVALUATE asks for less than FOSSILIZE: to pass is no claim that the seed helps.
    let settles = |finding: &Finding| match finding.outcome() {
        Outcome::Passed => stage == SeedStageProbationary,
        Outcome::Refused => true,
        Outcome::Postponed => false,
    };
    for probes in 1..=PROBES {
        record(&mut evidence.contribution, noise(&mut rng));
        let finding = Gatekeeper::<M>::judge(&policy, &Subject { seed_id: &seed_id, stage }, &evidence);
        if settles(&finding) {
            return (finding.outcome(), finding.reason(), probes);
        }
    }
    (Outcome::Postponed, "", PROBES)
}

/// The share of `runs` in which the evidence was ever significant, asked after each probe from `first` on.
fn wrong(noise: Noise, runs: u64, first: u64) -> f64 {
    let wrong = (0..runs).filter(|run| {
        let (mut rng, mut contribution) = (rng(*run), Contribution::default());
        (0..PROBES).any(|_| {
            record(&mut contribution, noise(&mut rng));
            contribution.probes() >= first && contribution.is_significant(SIGNIFICANCE)
        })
    });
    wrong.count() as f64 / runs as f64
}

/// The largest share of `runs` that chance alone brings about once in a thousand times, if `SIGNIFICANCE` is the probability.
fn bound(runs: u64) -> f64 {
    SIGNIFICANCE + 3.09 * (SIGNIFICANCE * (1.0 - SIGNIFICANCE) / runs as f64).sqrt()
}

#[test]
fn gate_asked_after_every_probe_errs_as_rarely_as_promised() {
    for (name, noise) in [("gaussian", gaussian as Noise), ("student t", student_t4), ("skewed", skewed)] {
        let share = |wrong: &dyn Fn(u64) -> bool| (0..200).filter(|run| wrong(*run)).count() as f64 / 200.0;
        let fossilize = share(&|run| judged::<Fossilize>(SeedStageProbationary, noise, run).0 != Outcome::Postponed);
        let evaluate = share(&|run| judged::<Evaluate>(SeedStageShadowing, noise, run).0 != Outcome::Postponed);
        assert!(fossilize <= bound(200), "{name}: FOSSILIZE is decided wrongly in {fossilize}");
        assert!(evaluate <= bound(200), "{name}: EVALUATE refuses wrongly in {evaluate}");
    }
}

/// The rows of the table in the docs of [`Contribution`].
#[test]
fn evidence_errs_as_often_as_the_docs_say() {
    for (noise, from_8, from_30) in
        [(gaussian as Noise, 0.028, 0.015), (student_t4, 0.018, 0.013), (skewed, 0.121, 0.051)]
    {
        for (first, documented) in [(8, from_8), (30, from_30)] {
            let measured = wrong(noise, 2_000, first);
            assert!((measured - documented).abs() <= 0.001, "from {first}: {measured} and not {documented}");
            assert!(first == 8 || measured <= bound(2_000), "{measured}");
        }
    }
}

/// Half of all seeds of this effect are found within 40 probes, all of these 200 within 160.
#[test]
fn effect_of_half_a_deviation_is_found_soon() {
    let needed = |outcome, reason, shift: f64| {
        let mut needed: Vec<u64> = (0..200)
            .map(|run| {
                let found = judged::<Fossilize>(SeedStageProbationary, |rng| gaussian(rng) + shift, run);
                assert_eq!((found.0, found.1), (outcome, reason), "run {run}");
                found.2
            })
            .collect();
        needed.sort_unstable();
        (needed[100], needed[199])
    };
    let helpful = needed(Outcome::Passed, "passed", 0.5);
    let harmful = needed(Outcome::Refused, "contribution_negative", -0.5);
    for (median, slowest) in [helpful, harmful] {
        assert!(median <= 42 && slowest <= 160, "{median} {slowest}");
    }
}

#[test]
fn evaluate_refuses_harmful_seeds_and_no_helpful_ones() {
    for run in 0..50 {
        let harmful = judged::<Evaluate>(SeedStageShadowing, |rng| gaussian(rng) - 0.5, run);
        assert_eq!((harmful.0, harmful.1), (Outcome::Refused, "contribution_negative"), "run {run}");
        assert!((30..=160).contains(&harmful.2), "run {run}: {}", harmful.2);
        let helpful = judged::<Evaluate>(SeedStageShadowing, |rng| gaussian(rng) + 0.5, run);
        assert_eq!(helpful.0, Outcome::Postponed, "run {run}: never refused");
    }
}

#[test]
fn seed_that_changes_nothing_is_never_fossilized() {
    assert_eq!(judged::<Fossilize>(SeedStageProbationary, |_| 0.0, 0).0, Outcome::Postponed);
    let mut contribution = Contribution::default();
    (0..100).for_each(|_| assert!(contribution.record(0.7, 0.7)));
    assert_eq!((contribution.mean(), contribution.error(), contribution.evidence()), (0.0, Some(0.0), 0.0));
}

#[test]
fn equal_differences_are_evidence_of_their_number() {
    let mut contribution = Contribution::default();
    for probes in 1..=2_000_u64 {
        contribution.record(1.0, 0.5);
        let evidence = contribution.evidence();
        assert!(evidence.is_finite() && evidence >= 0.0, "{probes}: {evidence}");
        assert_eq!(contribution.is_significant(SIGNIFICANCE), probes >= 5, "{probes}: {evidence}");
    }
}

/// By hand: differences 1, 2, 3 have the mean 2 and the variance 1, so t^2 = 12 and v = 2; with g = 1, BF = 4^(-1/2) (7 / 2.5)^(3/2).
#[test]
fn evidence_is_the_bayes_factor_of_the_formula() {
    let mut contribution = Contribution::default();
    for difference in [1.0_f32, 2.0, 3.0] {
        contribution.record(10.0, 10.0 - difference);
    }
    assert_eq!((contribution.probes(), contribution.mean(), contribution.baseline()), (3, 2.0, 10.0));
    assert!((contribution.error().unwrap() - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    assert!((contribution.evidence() - 0.5 * 2.8_f64.powf(1.5)).abs() < 1e-12, "{}", contribution.evidence());
}

#[test]
fn loss_that_is_not_finite_poisons_nothing() {
    let mut contribution = Contribution::default();
    contribution.record(1.0, 0.5);
    contribution.record(1.0, 0.25);
    let before = contribution;
    for (without, with) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, f32::INFINITY), (1.0, f32::NEG_INFINITY)]
    {
        assert!(!contribution.record(without, with));
        assert_eq!(contribution, before);
    }
}

proptest::proptest! {
    /// Whatever finite losses there are, the numbers are numbers; more evidence needs a difference.
    #[test]
    fn numbers_of_a_contribution_are_finite(
        losses in proptest::collection::vec((proptest::num::f32::NORMAL, proptest::num::f32::NORMAL), 0..50),
    ) {
        let mut contribution = Contribution::default();
        for (without, with) in losses {
            contribution.record(without, with);
            let numbers = [contribution.mean(), contribution.baseline(), contribution.evidence(), contribution.error().unwrap_or(0.0)];
            proptest::prop_assert!(numbers.iter().all(|number| number.is_finite()), "{contribution:?}");
            proptest::prop_assert!(contribution.evidence() >= 0.0);
        }
        let stored = serde_json::to_string(&contribution).unwrap();
        let read: Contribution = serde_json::from_str(&stored).unwrap();
        proptest::prop_assert_eq!(read.probes(), contribution.probes());
    }
}
