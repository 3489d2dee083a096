//! Every image that a power cut can leave holds what was acknowledged, and nothing that was never written.

use std::io::ErrorKind;

use kasmina_rollback::doubles::{Operation, SimulatedDisk};
use proptest::prelude::*;

use crate::history::{Run, action, check, scripted};

#[test]
fn power_cut_in_scripted_history_loses_nothing_acknowledged() {
    let mut run = Run::new(SimulatedDisk::new());
    run.run(&scripted());
    run.empty();
    let mut images = 0;
    run.disk.images(8, 1, |image| {
        images += 1;
        check(&image, &run.known);
        if images % 8 == 0 {
            // The power fails again during recovery, or right after it.
            image.disk.images(0, 1, |mut again| {
                again.mark = image.mark;
                again.history = format!("{}; then {}", image.history, again.history);
                check_again(&again, &run);
            });
        }
    });
    println!("{images} images, {} operations, {} acknowledgements", run.disk.operations(), run.known.len());
    assert!(images > 500, "{images}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn power_cut_in_random_history_loses_nothing_acknowledged(
        actions in prop::collection::vec(action(), 1..12),
        seed: u64,
    ) {
        let mut run = Run::new(SimulatedDisk::new());
        run.run(&actions);
        run.disk.images(2, seed, |image| check(&image, &run.known));
        run.empty();
        prop_assert_eq!(sizes(&run.disk), empty_sizes());
    }

    #[test]
    fn failure_in_random_history_loses_nothing_acknowledged(
        actions in prop::collection::vec(action(), 1..12),
        nth in 0..200_u64,
        full: bool,
        seed: u64,
    ) {
        let disk = SimulatedDisk::new();
        disk.fail(nth, None, if full { ErrorKind::StorageFull } else { ErrorKind::Other });
        let mut run = Run::new(disk);
        run.run(&actions);
        run.disk.images(1, seed, |image| check(&image, &run.known));
        run.empty();
        prop_assert_eq!(sizes(&run.disk), empty_sizes());
    }
}

#[test]
fn failure_of_any_operation_loses_nothing_and_leaves_nothing_behind() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let mut nth = 0;
        while fail_once(nth, None, kind) {
            nth += 1;
        }
        assert!(nth > 100, "{nth}");
    }
}

#[test]
fn failure_of_any_write_or_sync_with_power_cut_loses_nothing() {
    for operation in
        [Operation::Write, Operation::Truncate, Operation::Sync, Operation::Rename, Operation::SyncDirectory]
    {
        let mut nth = 0;
        while fail_once(nth, Some(operation), ErrorKind::Other) {
            nth += 1;
        }
    }
}

#[test]
fn deleting_everything_makes_the_store_as_small_as_a_fresh_one() {
    let mut run = Run::new(SimulatedDisk::new());
    run.run(&scripted());
    assert!(sizes(&run.disk).len() > 3, "{:?}", sizes(&run.disk));
    run.empty();
    assert_eq!(sizes(&run.disk), empty_sizes());
}

/// Runs the scripted history with one failure. Whether it struck.
fn fail_once(nth: u64, operation: Option<Operation>, kind: ErrorKind) -> bool {
    let disk = SimulatedDisk::new();
    disk.fail(nth, operation, kind);
    let mut run = Run::new(disk);
    run.run(&scripted());
    let struck = !run.disk.heal();
    // Images of every run would take a minute; each kind of operation has its turn.
    if operation.is_some() && nth.is_multiple_of(3) {
        run.disk.images(0, nth, |image| check(&image, &run.known));
    }
    run.empty();
    let last = run.known.len() as u64 - 1;
    run.disk.mark(last);
    assert_eq!(sizes(&run.disk), empty_sizes(), "operation {nth} of {operation:?} failed with {kind:?}");
    struck
}

fn check_again(again: &kasmina_rollback::doubles::Image, run: &Run) {
    let mut known = run.known.clone();
    // The first recovery was checked by appending a packet.
    known[again.mark as usize].allow_check_packet();
    check(again, &known);
}

/// The files and how long they are. Sequence numbers do not change the length.
fn sizes(disk: &SimulatedDisk) -> Vec<(String, usize)> {
    disk.files().into_iter().map(|(name, bytes)| (name, bytes.len())).collect()
}

/// As [`sizes`], of a store that never held anything else.
fn empty_sizes() -> Vec<(String, usize)> {
    let mut run = Run::new(SimulatedDisk::new());
    run.empty();
    sizes(&run.disk)
}
