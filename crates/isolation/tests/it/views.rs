//! The views: who is in them, in which order, and who may learn.

use burn::module::{AutodiffModule, list_param_ids};
use kasmina_blending::Alpha;
use kasmina_isolation::{GradientLedger, Grafts, Override, frozen_twin};
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
    assert_eq!(names(&cast.live()), "{[(fossil-2), (fossil-1), (blending), (probationary)]}");
    assert_eq!(names(&cast.committed()), "{[(fossil-2), (fossil-1)]}");
    assert_eq!(names(&cast.learning()), names(&cast.live()));
    let shadowing = seed("shadowing");
    let put_in = [Override { seed: &shadowing, alpha: Some(Alpha::ONE) }];
    assert_eq!(names(&cast.measured(&put_in)), "{[(fossil-2), (fossil-1), (blending), (probationary), (shadowing)]}");
    let blending = seed("blending");
    let left_out = [Override { seed: &blending, alpha: None }];
    assert_eq!(names(&cast.measured(&left_out)), "{[(fossil-2), (fossil-1), (probationary)]}");
}

#[test]
fn paused_seed_is_in_no_view() {
    let mut seeds = seeds();
    seeds.iter_mut().for_each(|seed| seed.paused = true);
    let cast = cast(&seeds);
    assert_eq!((names(&cast.host()), names(&cast.live()), names(&cast.learning())), {
        let empty = "{}".to_owned();
        (empty.clone(), empty.clone(), empty)
    });
    assert_eq!(cast.participants().len(), 6, "it is still a participant");
}

#[test]
fn only_kernels_that_learn_get_gradients_in_the_learning_pass() {
    let host = Host::init();
    let mut seeds = seeds();
    for (blending, probationary) in [(true, false), (false, true), (true, true)] {
        for seed in &mut seeds {
            seed.learns = match seed.stage == SeedStageProbationary {
                true => probationary,
                false => blending,
            };
        }
        let loss = frozen_twin(&host).loss(&mut cast(&seeds).learning());
        let ledger = GradientLedger::<B>::new(loss.backward());
        assert!(ledger.present(&host).is_empty());
        for other in &seeds {
            let learns = other.learns && matches!(other.stage, SeedStageBlending | SeedStageProbationary);
            let expected = if learns { list_param_ids(&other.kernel).len() } else { 0 };
            assert_eq!(ledger.present(&other.kernel).len(), expected, "{}", other.id);
        }
    }
}

#[test]
fn alpha_is_the_given_one_in_blending_and_probationary() {
    let host = Host::init();
    let value = |stage: SeedLifecycleStage, alpha: f32| {
        let mut seed = Seed::new("a", "mid", stage, kernel(1, 4));
        seed.alpha = Alpha::new(alpha).unwrap();
        host.valid().loss(&mut cast(&[seed]).live()).into_scalar()
    };
    for stage in [SeedStageBlending, SeedStageProbationary] {
        assert_ne!(value(stage, 0.25), value(stage, 0.5), "{stage:?}");
    }
    assert_eq!(value(SeedStageFossilized, 0.25), value(SeedStageFossilized, 0.5));
    assert_eq!(value(SeedStageBlending, 1.0), value(SeedStageFossilized, 0.5));
}
