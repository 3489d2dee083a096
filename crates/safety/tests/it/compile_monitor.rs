//! The monitor of kernels as a script, and against the history of what it was told.

use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic};
use kasmina_safety::{
    CompileMonitor, CompileMonitorSettings, Execution, KernelPath, Outcome, PathChange, PathReason, Watched,
};
use proptest::prelude::*;

const SETTINGS: CompileMonitorSettings =
    CompileMonitorSettings { executions: 3, limit: Duration::from_millis(100), timeout: Duration::from_secs(30) };

const GOOD: Execution = compared(100, 0.01, 0.01);

const fn compared(millis: u64, difference: f32, tolerance: f32) -> Execution {
    Execution { took: Duration::from_millis(millis), outcome: Outcome::Compared { difference, tolerance } }
}

fn failed() -> Execution {
    Execution { took: Duration::ZERO, outcome: Outcome::Failed { reason: "kernel_panicked" } }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_millis(seconds * 1000)
}

fn on(blueprint: &str, device: &str) -> Watched {
    Watched { blueprint: BlueprintId::new(blueprint).unwrap(), device: device.to_owned() }
}

#[test]
fn good_executions_are_watched_until_there_are_enough() {
    let (mut monitor, mlp) = (CompileMonitor::new(SETTINGS), on("mlp", "gpu"));
    for left in [3, 2, 1] {
        assert_eq!(monitor.due(&mlp, at(0)), left);
        assert_eq!(monitor.record(&mlp, GOOD, at(0)), None);
    }
    assert_eq!((monitor.due(&mlp, at(0)), monitor.due(&mlp, at(1_000_000))), (0, 0));
    // Nobody has asked for this one.
    assert_eq!(monitor.record(&mlp, failed(), at(0)), None);
    assert_eq!(monitor.path(&mlp), KernelPath::Fused);
}

#[test]
fn bad_execution_moves_the_kernel_and_says_why() {
    let nan = compared(1, f32::NAN, 0.01);
    for (bad, reason, name) in [
        (compared(101, 0.0, 0.01), PathReason::Slow, "slow_execution"),
        (compared(1, 0.02, 0.01), PathReason::Disagreement, "numeric_disagreement"),
        (failed(), PathReason::Failed("kernel_panicked"), "kernel_panicked"),
        (compared(101, 0.02, 0.01), PathReason::Slow, "slow_execution"),
    ] {
        let (mut monitor, mlp) = (CompileMonitor::new(SETTINGS), on("mlp", "gpu"));
        assert_eq!(monitor.record(&mlp, GOOD, at(0)), None);
        let change = PathChange { to: KernelPath::Plain, ground: reason, execution: bad };
        assert_eq!(monitor.record(&mlp, bad, at(1)), Some(change));
        assert_eq!((monitor.path(&mlp), reason.reason()), (KernelPath::Plain, name));
    }
    let mut monitor = CompileMonitor::new(SETTINGS);
    let change = monitor.record(&on("mlp", "gpu"), nan, at(0)).unwrap();
    assert_eq!(change.ground, PathReason::Disagreement);
}

#[test]
fn moved_kernel_is_tried_after_the_time_out_and_comes_back() {
    let (mut monitor, mlp) = (CompileMonitor::new(SETTINGS), on("mlp", "gpu"));
    monitor.record(&mlp, failed(), at(0)).unwrap();
    assert_eq!((monitor.due(&mlp, at(29)), monitor.due(&mlp, at(30))), (0, 1));
    // A failed trial starts another time-out, and is not a move.
    assert_eq!(monitor.record(&mlp, compared(1, 0.5, 0.01), at(30)), None);
    assert_eq!((monitor.due(&mlp, at(59)), monitor.due(&mlp, at(60))), (0, 1));
    assert_eq!(monitor.path(&mlp), KernelPath::Plain);
    let change = PathChange { to: KernelPath::Fused, ground: PathReason::Agreement, execution: GOOD };
    assert_eq!(monitor.record(&mlp, GOOD, at(60)), Some(change));
    assert_eq!((monitor.path(&mlp), monitor.due(&mlp, at(1000))), (KernelPath::Fused, 0));
}

#[test]
fn kernels_and_devices_are_watched_apart() {
    let mut monitor = CompileMonitor::new(SETTINGS);
    monitor.record(&on("mlp", "gpu"), failed(), at(0)).unwrap();
    for other in [on("mlp", "other gpu"), on("cnn", "gpu")] {
        assert_eq!((monitor.path(&other), monitor.due(&other, at(0))), (KernelPath::Fused, 3));
    }
}

#[test]
fn monitor_that_watches_nothing_moves_nothing() {
    let mut monitor = CompileMonitor::new(CompileMonitorSettings { executions: 0, ..SETTINGS });
    assert_eq!(monitor.due(&on("mlp", "gpu"), at(0)), 0);
    assert_eq!(monitor.record(&on("mlp", "gpu"), failed(), at(0)), None);
}

proptest! {
    /// The last outcome that was due says which path it is, and no more than the first executions are watched on the fused one.
    #[test]
    fn path_follows_the_last_outcome_that_was_due(script in prop::collection::vec((0..40_u64, any::<bool>()), 0..40)) {
        let (mut monitor, mlp) = (CompileMonitor::new(SETTINGS), on("mlp", "gpu"));
        let (mut now, mut fused, mut good, mut moved_at) = (0, true, 0, 0);
        for (wait, is_good) in script {
            now += wait;
            let due = if fused { 3 - good } else { u32::from(now - moved_at >= 30) };
            prop_assert_eq!(monitor.due(&mlp, at(now)), due);
            let change = monitor.record(&mlp, if is_good { GOOD } else { failed() }, at(now));
            let before = fused;
            if due > 0 {
                (fused, moved_at) = (is_good, now);
                good = match (before, is_good) {
                    (true, true) => good + 1,
                    (false, true) => 3,
                    (true, false) | (false, false) => good,
                };
            }
            prop_assert_eq!(change.is_some(), before != fused);
            prop_assert_eq!(monitor.path(&mlp) == KernelPath::Fused, fused);
        }
    }
}
