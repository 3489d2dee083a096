//! Kernels run alone, before they take part in a pass.

use std::{
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use burn::tensor::DType;
use kasmina_isolation::{Activation, PrewarmError, Route, Trial, doubles::FusedFault, prewarm, trial};
use kasmina_kernel_load::{KernelDtype, KernelModule, LayerSpec, ShapeError, SlotContract};
use kasmina_safety::{Clock, Execution, KernelPath, Outcome, doubles::ManualClock};

use crate::world::{B, built, deep_kernel, kernel, neutral, ramp, spoilt};

fn rows(channels: usize) -> Activation {
    Activation::of(&ramp::<B, 2>([64, channels], 1))
}

fn run(kernel: &KernelModule<B>, route: &Route) -> Result<Trial, PrewarmError> {
    trial(kernel, &rows(4), route, &Default::default(), &ManualClock::default())
}

fn warm(kernel: &KernelModule<B>, input: &Activation, route: &Route) -> Result<(), PrewarmError> {
    prewarm(kernel, input, route, &Default::default())
}

#[expect(clippy::panic, reason = "it stands for a device that panics")]
fn panics() -> Route {
    Route::faulty(FusedFault::default().meanwhile(|| panic::panic_any("the device is gone")))
}

#[test]
fn kernel_that_runs_is_prewarmed_once() {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let route = Route::faulty(FusedFault::default().meanwhile(move || _ = count.fetch_add(1, Relaxed)));
    assert_eq!(warm(&kernel(1, 4), &rows(4), &route), Ok(()));
    assert_eq!(runs.load(Relaxed), 1);
}

#[test]
fn kernel_that_does_not_run_says_why() {
    let too_wide = ShapeError::Channels { axis: 1, expected: 4, got: 5 };
    assert_eq!(warm(&kernel(1, 4), &rows(5), &Route::default()), Err(PrewarmError::Shape(too_wide)));
    let vector = Activation { dims: vec![4], dtype: DType::F32 };
    assert_eq!(warm(&kernel(1, 4), &vector, &Route::default()).unwrap_err().reason(), "input_rank");
    assert_eq!(warm(&spoilt(kernel(1, 4)), &rows(4), &Route::default()), Err(PrewarmError::NotFinite));
    let gone = PrewarmError::Panicked("the device is gone".to_owned());
    assert_eq!(warm(&kernel(1, 4), &rows(4), &panics()), Err(gone.clone()));

    assert_eq!(run(&spoilt(kernel(1, 4)), &Route::default()).unwrap_err(), PrewarmError::NotFinite);
    assert_eq!(run(&kernel(1, 4), &panics()).unwrap_err(), gone);
    let reasons = [gone.reason(), PrewarmError::NotFinite.reason()];
    assert_eq!(reasons, ["kernel_panicked", "kernel_not_finite"]);
}

#[test]
fn both_paths_are_the_same_where_nothing_is_fused() {
    for kernel in [kernel(1, 4), deep_kernel(2, 4), neutral()] {
        let fused = run(&kernel, &Route::default()).unwrap();
        let plain = run(&kernel, &KernelPath::Plain.into()).unwrap();
        assert_eq!(fused.difference(&plain), 0.0);
        assert!(plain.tolerance() > 0.0);
    }
    // It would have seen another kernel.
    let (one, other) = (run(&kernel(1, 4), &Route::default()), run(&kernel(2, 4), &Route::default()));
    assert!(one.unwrap().difference(&other.unwrap()) > 0.1);
}

#[test]
fn difference_is_a_share_of_the_largest_output() {
    // An identity gives the ramp back, whose numbers lie within -1 and 1.
    let identity = built(1, SlotContract::f32(2, 4, 4), vec![LayerSpec::Identity {}]);
    let plain = run(&identity, &KernelPath::Plain.into()).unwrap();
    let difference = |offset| run(&identity, &Route::faulty(FusedFault::offset(offset))).unwrap().difference(&plain);
    assert!((0.25..0.26).contains(&difference(0.25)), "{}", difference(0.25));
    assert!((0.5..0.52).contains(&difference(-0.5)), "{}", difference(-0.5));
}

#[test]
fn output_where_there_should_be_none_differs_without_bound() {
    let plain = run(&neutral(), &KernelPath::Plain.into()).unwrap();
    let fused = run(&neutral(), &Route::faulty(FusedFault::offset(1e-6))).unwrap();
    assert_eq!(fused.difference(&plain), f32::INFINITY);
}

#[test]
fn tolerance_depends_on_the_element_type() {
    let tolerance = |dtype: KernelDtype| {
        let contract = SlotContract { dtype, ..SlotContract::f32(2, 4, 4) };
        let input = Activation { dims: vec![8, 4], dtype: dtype.dtype() };
        let kernel = built(1, contract, vec![LayerSpec::linear(4, 4)]);
        let plain = trial(&kernel, &input, &Route::default(), &Default::default(), &ManualClock::default()).unwrap();
        assert_eq!(plain.difference(&plain), 0.0);
        plain.tolerance()
    };
    assert_eq!(KernelDtype::ALL.map(tolerance), [0.01, 0.1, 0.03]);
}

#[test]
fn execution_has_the_time_of_the_fused_path() {
    let clock = ManualClock::default();
    let slow = clock.clone();
    let route = Route::faulty(FusedFault::default().meanwhile(move || slow.advance(Duration::from_secs(7))));
    let trial = |route: &Route| trial(&kernel(1, 4), &rows(4), route, &Default::default(), &clock);
    let plain = trial(&KernelPath::Plain.into()).unwrap();
    let outcome = Outcome::Compared { difference: 0.0, tolerance: 0.01 };
    let expected = Execution { took: Duration::from_secs(7), outcome };
    assert_eq!(Trial::execution(&trial(&route), &plain), expected);
    let failed = Outcome::Failed { reason: "kernel_panicked" };
    assert_eq!(Trial::execution(&trial(&panics()), &plain), Execution { took: Duration::ZERO, outcome: failed });
    assert_eq!(clock.monotonic().as_nanos(), 7_000_000_000, "the plain path has no fault");
}
