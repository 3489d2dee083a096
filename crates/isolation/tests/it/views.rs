//! The views: who is in them, in which order, and who may learn.

use burn::module::{AutodiffModule, list_param_ids};
use kasmina_isolation::{GradientLedger, Grafts, frozen_twin};
use kasmina_leyline::v1::SeedLifecycleStage::{self, *};

use crate::world::{B, Host, Seed, cast, kernel, seed};

fn seeds() -> Vec<Seed> {
    let stages: [(&str, SeedLifecycleStage); 6] = [
        ("blending", SeedStageBlending),
        ("fossil-2", SeedStageFossilized),
        ("fossil-1", SeedStageFossilized),
        ("probationary", SeedStageProbationary),
        ("shadowing", SeedStageShadowing),
        ("training", SeedStageTraining),
    ];
    stages.iter().zip(1..).map(|((id, stage), number)| Seed::new(id, "mid", *stage, kernel(number, 4))).collect()
}

fn names<C: kasmina_blending::BlendBackend>(grafts: &Grafts<C>) -> String {
    format!("{grafts:?}").replace("SlotId(mid): ", "").replace("SeedId", "")
}

#[test]
fn fossils_come_first_and_views_hold_the_right_seeds() {
    let seeds = seeds();
    let cast = cast(&seeds);
    assert_eq!(names(&cast.host()), "{[(fossil-2), (fossil-1), (training)]}");
    assert_eq!(names(&cast.host_without(&[seed("training")])), "{[(fossil-2), (fossil-1)]}");
    assert_eq!(names(&cast.live()), "{[(fossil-2), (fossil-1), (blending), (probationary)]}");
    assert_eq!(names(&cast.committed()), "{[(fossil-2), (fossil-1)]}");
    let own = names(&cast.seed(&seed("shadowing")));
    assert_eq!(own, "{[(fossil-2), (fossil-1), (blending), (probationary), (shadowing)]}");
    assert_eq!(names(&cast.seed_alone(&seed("shadowing"))), "{[(fossil-2), (fossil-1), (shadowing)]}");
}

#[test]
fn paused_seed_is_in_no_view() {
    let mut seeds = seeds();
    seeds.iter_mut().for_each(|seed| seed.paused = true);
    let cast = cast(&seeds);
    assert_eq!((names(&cast.host()), names(&cast.live()), names(&cast.seed(&seed("blending")))), {
        let empty = "{}".to_owned();
        (empty.clone(), empty.clone(), empty)
    });
    assert_eq!(cast.participants().len(), 6, "it is still a participant");
}

#[test]
fn only_the_seeds_kernel_learns_in_its_pass() {
    let host = Host::init();
    let mut seeds = seeds();
    for (own, fine_tuning, learns) in
        [("blending", false, true), ("probationary", false, false), ("probationary", true, true)]
    {
        seeds.iter_mut().for_each(|seed| seed.fine_tuning = fine_tuning);
        let loss = frozen_twin(&host).loss(&mut cast(&seeds).seed(&seed(own)));
        let ledger = GradientLedger::<B>::new(loss.backward());
        assert!(ledger.present(&host).is_empty());
        for other in &seeds {
            let expected = if learns && other.id == seed(own) { list_param_ids(&other.kernel).len() } else { 0 };
            assert_eq!(ledger.present(&other.kernel).len(), expected, "{} in the pass of {own}", other.id);
        }
    }
}

#[test]
fn alpha_follows_the_schedule_in_blending_and_is_one_afterwards() {
    let host = Host::init();
    let value = |stage: SeedLifecycleStage, alpha: f32| {
        let mut seed = Seed::new("a", "mid", stage, kernel(1, 4));
        seed.alpha = kasmina_blending::Alpha::new(alpha).unwrap();
        host.valid().loss(&mut cast(&[seed]).live()).into_scalar()
    };
    assert_ne!(value(SeedStageBlending, 0.25), value(SeedStageBlending, 0.5));
    assert_eq!(value(SeedStageProbationary, 0.25), value(SeedStageProbationary, 0.5));
    assert_eq!(value(SeedStageBlending, 1.0), value(SeedStageProbationary, 0.5));
}
