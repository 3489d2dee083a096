//! Kernels on a ramp.

use kasmina_isolation::{Activation, Route, rehearse};

use crate::world::{B, kernel, ramp, spoilt};

#[test]
fn rehearsal_measures_only_a_kernel_that_runs() {
    let device = Default::default();
    let input = Activation::of(&ramp::<B, 2>([64, 4], 1));
    let rehearsal = rehearse(&kernel(1, 4), &input, &Route::default(), &device).unwrap();
    assert!(rehearsal.loss.is_finite() && rehearsal.gradient_norm > 0.0);
    assert_eq!(rehearse(&kernel(1, 4), &input, &Route::default(), &device), Some(rehearsal), "the kernel is as it was");
    assert_eq!(rehearse(&kernel(1, 3), &input, &Route::default(), &device), None);
    let nan = rehearse(&spoilt(kernel(1, 4)), &input, &Route::default(), &device).unwrap();
    assert!(nan.loss.is_nan());
}
