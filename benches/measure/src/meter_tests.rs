use kasmina_safety::doubles::ManualClock;

use super::*;
use crate::{Comparison, Estimate};

const EFFORT: Effort = Effort {
    warm_up: Duration::from_millis(1),
    sample: Duration::from_micros(100),
    time: Duration::from_millis(50),
    at_least: 20,
    at_most: 200,
};

/// Something that takes so many nanoseconds of this clock.
fn costing(clock: &ManualClock, mut nanoseconds: impl FnMut() -> u64 + 'static) -> Side<'static> {
    let clock = clock.clone();
    Side::repeat(move || clock.advance(Duration::from_nanos(nanoseconds())))
}

fn ratio(samples: &Samples) -> Estimate {
    Comparison::Time.ratio(samples).unwrap()
}

#[test]
fn a_side_that_is_a_tenth_slower_shows_a_ratio_of_1_1() {
    let clock = ManualClock::default();
    let samples = Meter::new(&clock, EFFORT).pair(costing(&clock, || 1_100), costing(&clock, || 1_000));
    assert_eq!(samples.ours.len(), samples.yardstick.len());
    assert!((ratio(&samples).median - 1.1).abs() < 1e-9, "{samples:?}");
    assert!((samples.ours[0] - 1_100.0).abs() < 1e-9);
}

#[test]
fn a_machine_that_slows_down_leaves_the_ratio_alone() {
    let clock = ManualClock::default();
    // By the end of the 50 ms everything takes half as long again.
    let drifting = |base: u64| {
        let watch = clock.clone();
        move || base + base * watch.monotonic().as_nanos() / 100_000_000
    };
    let samples = Meter::new(&clock, EFFORT).pair(costing(&clock, drifting(2_200)), costing(&clock, drifting(2_000)));
    let (first, last) = (samples.ours[0], samples.ours.last().unwrap());
    assert!(last / first > 1.3, "the drift is in the times: {first} {last}");
    assert!((ratio(&samples).median - 1.1).abs() < 0.002, "{}", ratio(&samples).median);
    assert!(ratio(&samples).noise < 0.005, "each pair is of two neighbouring moments: {:?}", ratio(&samples));
}

#[test]
fn sides_take_turns_and_the_first_changes() {
    let clock = ManualClock::default();
    let order = std::cell::RefCell::new(Vec::new());
    let side = |name: char| {
        let (clock, order) = (clock.clone(), &order);
        Side::repeat(move || {
            order.borrow_mut().push(name);
            clock.advance(Duration::from_millis(10));
        })
    };
    let meter = Meter::new(&clock, Effort { warm_up: Duration::ZERO, at_least: 4, at_most: 4, ..EFFORT });
    let _ = meter.pair(side('o'), side('y'));
    // Each is calibrated once, then there are four pairs.
    assert_eq!(order.borrow().iter().collect::<String>(), "oy".to_owned() + "oyyooyyo");
}

#[test]
fn preparation_is_not_timed_and_samples_are_long_enough_for_the_clock() {
    let clock = ManualClock::default();
    let (prepare, act) = (clock.clone(), clock.clone());
    let side = Side::prepared(
        move |count| {
            prepare.advance(Duration::from_millis(5));
            count
        },
        move |prepared, count| {
            assert_eq!(*prepared, count);
            act.advance(Duration::from_nanos(10 * count));
        },
    );
    let samples = Meter::new(&clock, EFFORT).alone(side);
    assert!(samples.ours.iter().all(|sample| (sample - 10.0).abs() < 1e-9), "{samples:?}");
    // 50 ms are over after ten of these, but there must be 20.
    assert_eq!(samples.ours.len(), EFFORT.at_least);
    let (prepare, act) = (clock.clone(), clock.clone());
    let each =
        Side::each(move || prepare.advance(Duration::from_millis(1)), move |()| act.advance(Duration::from_micros(7)));
    assert!(Meter::new(&clock, EFFORT).alone(each).ours.iter().all(|sample| (sample - 7_000.0).abs() < 1e-9));
}

#[test]
fn sampling_ends_with_the_time_or_the_number_of_pairs() {
    let clock = ManualClock::default();
    let meter = Meter::new(&clock, EFFORT);
    // 1 ms a run: 50 samples in 50 ms.
    assert_eq!(meter.alone(costing(&clock, || 1_000_000)).ours.len(), 50);
    let meter = Meter::new(&clock, Effort { at_most: 30, ..EFFORT });
    assert_eq!(meter.alone(costing(&clock, || 1_000_000)).ours.len(), 30);
    assert_eq!(meter.slow().effort.at_least, 8);
}

#[test]
fn many_sides_meet_the_same_drift() {
    let clock = ManualClock::default();
    let drifting = |base: u64| {
        let watch = clock.clone();
        costing(&clock, move || base + base * watch.monotonic().as_nanos() / 100_000_000)
    };
    let mut sides = [1_000, 2_000, 4_000].map(drifting);
    let samples = Meter::new(&clock, EFFORT).turns(&mut sides);
    let medians: Vec<_> = samples.iter().map(|samples| Estimate::of(samples).unwrap().median).collect();
    assert!(
        (medians[1] / medians[0] - 2.0).abs() < 0.02 && (medians[2] / medians[0] - 4.0).abs() < 0.04,
        "{medians:?}"
    );
    assert!(Meter::new(&clock, EFFORT).turns(&mut []).is_empty());
}

#[test]
fn a_run_that_was_interrupted_is_no_sample_yet() {
    let clock = ManualClock::default();
    let mut runs = 0;
    let side = costing(&clock, move || {
        runs += 1;
        if runs == 1 { 2_000_000 } else { 1_000 }
    });
    let samples = Meter::new(&clock, Effort { warm_up: Duration::ZERO, ..EFFORT }).alone(side);
    // 100 us a sample, so 500 of them in 50 ms: as many as there may be. One run a sample would be 1 us.
    assert_eq!(samples.ours.len(), EFFORT.at_most);
    assert!(clock.monotonic().as_nanos() > 15_000_000, "{}", clock.monotonic().as_nanos());
}
