//! Workers that are threads, over burn-collective.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use burn::backend::Flex;
use kasmina_reduce::{
    Part, Reduce, ReduceError,
    conformance::{
        Order, PATIENCE, bits, each, gives_up_for_all, keeps_its_promises, numbers, refuses_what_does_not_go_together,
        tensor, uneven,
    },
};
use kasmina_reduce_collective::Collective;

/// A process has one group at a time.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static GROUP: Mutex<()> = Mutex::new(());
    GROUP.lock().unwrap_or_else(PoisonError::into_inner)
}

fn group(workers: usize, timeout: Duration) -> Vec<Collective<Flex>> {
    Collective::group(vec![Default::default(); workers], timeout).unwrap()
}

#[test]
fn promises_are_kept() {
    let _one = one_at_a_time();
    keeps_its_promises(Order::Own, |workers| group(workers, PATIENCE));
    refuses_what_does_not_go_together(|workers| group(workers, PATIENCE));
    gives_up_for_all(group(2, Duration::from_millis(1)));
}

#[test]
fn group_that_ended_says_so_at_once_and_the_next_group_works() {
    let _one = one_at_a_time();
    let [mut one, mut late]: [_; 2] = group(2, Duration::from_millis(1)).try_into().unwrap();
    let missing = vec![1];
    let within = Duration::from_millis(1);
    assert_eq!(one.gather(vec![1]), Err(ReduceError::TimedOut { missing, within }));
    assert_eq!(late.gather(vec![2]), Err(ReduceError::GivenUp));
    for worker in [&mut one, &mut late] {
        assert_eq!(worker.gather(vec![3]), Err(ReduceError::Ended));
        assert_eq!(worker.reduce(&Part::Host, tensor(&[1.0])).map(numbers), Err(ReduceError::Ended));
    }
    let refused = Collective::<Flex>::group(vec![Default::default()], PATIENCE).unwrap_err();
    assert_eq!(refused.reason(), "link_failed", "the group that ended is still there");
    drop((one, late));
    let gathered = each(group(2, PATIENCE), |mut worker| worker.gather(vec![7]));
    assert_eq!(gathered, vec![Ok(vec![vec![7], vec![7]]); 2]);
}

#[test]
fn workers_that_wait_when_one_times_out_are_freed() {
    let _one = one_at_a_time();
    let [patient, impatient, mut absent]: [_; 3] = group(3, Duration::from_millis(300)).try_into().unwrap();
    let ends = each(vec![patient, impatient], |mut worker| worker.reduce(&Part::Host, tensor(&[1.0])).map(numbers));
    let reasons: Vec<_> = ends.into_iter().map(|end| end.unwrap_err().reason()).collect();
    assert!(reasons.contains(&"workers_missing"), "{reasons:?}");
    assert!(reasons.iter().all(|reason| ["workers_missing", "exchange_given_up"].contains(reason)), "{reasons:?}");
    assert_eq!(Reduce::<Flex>::gather(&mut absent, Vec::new()), Err(ReduceError::GivenUp));
}

#[test]
fn hundred_means_of_five_workers_are_the_same_bits_on_all() {
    let _one = one_at_a_time();
    let means = each(group(5, PATIENCE), |mut worker| {
        let rank = worker.place().rank;
        let mean = |_| bits(&numbers(worker.reduce(&Part::Statistics, tensor(&uneven(rank, 33))).unwrap()));
        (0..100).map(mean).collect::<Vec<_>>()
    });
    assert!(means.iter().all(|of_one| *of_one == means[0]));
}

#[test]
fn tensor_without_values_and_facts_of_different_lengths_are_exchanged() {
    let _one = one_at_a_time();
    let ends = each(group(3, PATIENCE), |mut worker| {
        let rank = worker.place().rank;
        let none = numbers(worker.reduce(&Part::Host, tensor(&[])).unwrap());
        (none, worker.gather((0..=255).cycle().take(rank * 1000).collect()).unwrap())
    });
    let all: Vec<Vec<u8>> = (0..3).map(|rank| (0..=255).cycle().take(rank * 1000).collect()).collect();
    assert!(ends.iter().all(|(none, facts)| none.is_empty() && *facts == all));
}
