//! Kernels and slots on a ramp.

use kasmina_isolation::{Activation, SlotShape, passes_unchanged, rehearse};
use kasmina_leyline::v1::SeedLifecycleStage::*;

use crate::world::{B, Seed, cast, kernel, ramp, spoilt};

#[test]
fn rehearsal_measures_only_a_kernel_that_runs() {
    let device = Default::default();
    let input = Activation::of(&ramp::<B, 2>([64, 4], 1));
    let rehearsal = rehearse(&kernel(1, 4), &input, &device).unwrap();
    assert!(rehearsal.loss.is_finite() && rehearsal.gradient_norm > 0.0);
    assert_eq!(rehearse(&kernel(1, 4), &input, &device), Some(rehearsal), "the kernel is as it was");
    assert_eq!(rehearse(&kernel(1, 3), &input, &device), None);
    let nan = rehearse(&spoilt(kernel(1, 4)), &input, &device).unwrap();
    assert!(nan.loss.is_nan());
}

#[test]
fn ramp_is_unchanged_only_while_the_seed_is_paused() {
    let activation = Activation::of(&ramp::<B, 2>([8, 4], 1));
    let shape = SlotShape { input: activation.clone(), output: activation };
    let mut seeds = [Seed::new("own", "mid", SeedStageProbationary, kernel(1, 4))];
    let slot = seeds[0].slot.clone();
    assert!(!passes_unchanged(cast(&seeds).live(), &slot, &shape, &Default::default()));
    seeds[0].paused = true;
    assert!(passes_unchanged(cast(&seeds).live(), &slot, &shape, &Default::default()));
}
