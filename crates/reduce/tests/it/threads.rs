//! Workers that are threads.

use std::time::Duration;

use burn::backend::Flex;
use kasmina_reduce::{
    Part, Reduce, ReduceError, Threads,
    conformance::{
        Order, PATIENCE, each, gives_up_for_all, keeps_its_promises, numbers, refuses_what_does_not_go_together, tensor,
    },
};

#[test]
fn promises_are_kept() {
    keeps_its_promises::<Flex, _>(Order::ByRank, |workers| Threads::group(workers, PATIENCE));
    refuses_what_does_not_go_together::<Flex, _>(|workers| Threads::group(workers, PATIENCE));
    gives_up_for_all(Threads::<Flex>::group(2, Duration::ZERO));
}

#[test]
fn worker_that_has_left_is_not_waited_for() {
    let ends = each(Threads::<Flex>::group(3, PATIENCE), |mut worker| {
        if worker.place().rank == 1 {
            return None;
        }
        Some(worker.reduce(&Part::Host, tensor(&[1.0])).map(numbers))
    });
    let left = Some(Err(ReduceError::Left { workers: vec![1] }));
    assert_eq!(ends, [left.clone(), None, left]);
}

#[test]
fn thousand_exchanges_of_workers_that_run_ahead_do_not_mix() {
    let sums = each(Threads::<Flex>::group(4, PATIENCE), |mut worker| {
        let rank = worker.place().rank as u64;
        (0..1000_u64).all(|round| {
            let all = worker.gather((round * 4 + rank).to_le_bytes().to_vec()).unwrap();
            all.iter().zip(0..).all(|(bytes, rank)| *bytes == (round * 4 + rank).to_le_bytes())
        })
    });
    assert_eq!(sums, [true; 4]);
}
