//! What every reducer keeps, whatever carries it.

#![allow(clippy::expect_used, reason = "a suite that cannot go on has failed")]

use std::{thread, time::Duration};

use burn::tensor::{Tensor, backend::Backend};
use kasmina_leyline::SeedId;

use crate::{Part, Place, Reduce, ReduceError};

/// Far longer than an exchange takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// In which order a reducer adds up. All workers get the same bits with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In pairs by rank, so that a mean is known to the last bit.
    ByRank,
    /// In an order of its own: each of `w - 1` sums is off by at most half a unit in the last place of the sum of absolute values.
    Own,
}

/// A tensor of these numbers.
#[must_use]
pub fn tensor<B: Backend>(values: &[f32]) -> Tensor<B, 1> {
    Tensor::from_floats(values, &B::Device::default())
}

/// The numbers of a tensor.
#[must_use]
pub fn numbers<B: Backend>(tensor: Tensor<B, 1>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The bits of numbers, which are compared where `-0.0` and `0.0` are not the same.
#[must_use]
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Runs each worker on a thread of its own, and gives what they return, in their order.
///
/// # Panics
/// If a worker does.
pub fn each<W: Send, T: Send>(workers: Vec<W>, run: impl Fn(W) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || run(worker))).collect();
        running.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
    })
}

/// Numbers for a worker: their sum depends on the order in which it is made.
#[must_use]
pub fn uneven(rank: usize, count: usize) -> Vec<f32> {
    let number = |at: usize| (((at * 7 + rank * 13) % 101) as f32 - 50.0) * 10_f32.powi((rank % 5) as i32 * 3 - 6);
    (0..count).map(number).collect()
}

/// The mean of [`uneven`] over so many workers in pairs by rank, in plain arithmetic.
#[must_use]
pub fn expected(workers: usize, count: usize) -> Vec<f32> {
    let mut sums: Vec<Vec<f32>> = (0..workers).map(|rank| uneven(rank, count)).collect();
    while sums.len() > 1 {
        let add = |pair: &[Vec<f32>]| match pair {
            [one, other] => one.iter().zip(other).map(|(one, other)| one + other).collect(),
            alone => alone[0].clone(),
        };
        sums = sums.chunks(2).map(add).collect();
    }
    sums[0].iter().map(|sum| sum / workers as f32).collect()
}

/// Every promise of [`Reduce`] that needs no failure.
///
/// # Panics
/// If one is broken.
pub fn keeps_its_promises<B: Backend, R: Reduce<B>>(order: Order, group: impl Fn(usize) -> Vec<R>) {
    const COUNTS: [usize; 3] = [1, 7, 1000];
    for workers in [1, 2, 3, 4, 5, 8] {
        let means = each(group(workers), |mut worker| {
            let rank = worker.place().rank;
            COUNTS.map(|count| numbers(worker.reduce(&Part::Host, tensor(&uneven(rank, count))).expect("a mean")))
        });
        for (at, count) in COUNTS.into_iter().enumerate() {
            for of_one in &means {
                assert_eq!(bits(&of_one[at]), bits(&means[0][at]), "{workers} workers");
            }
            is_the_mean(order, workers, count, &means[0][at]);
        }
        let gathered = each(group(workers), |mut worker| {
            let rank = worker.place().rank;
            let first = worker.gather(vec![rank as u8; rank]).expect("facts");
            (first, worker.gather(Vec::new()).expect("facts"))
        });
        let all: Vec<_> = (0..workers).map(|rank| vec![rank as u8; rank]).collect();
        assert!(gathered.iter().all(|(first, second)| *first == all && *second == vec![Vec::<u8>::new(); workers]));
    }
}

fn is_the_mean(order: Order, workers: usize, count: usize, mean: &[f32]) {
    let expected = expected(workers, count);
    match order {
        Order::ByRank => assert_eq!(bits(mean), bits(&expected), "{workers} workers"),
        Order::Own => {
            let inputs: Vec<_> = (0..workers).map(|rank| uneven(rank, count)).collect();
            for at in 0..count {
                let absolute: f32 = inputs.iter().map(|values| values[at].abs()).sum();
                // Both means have been rounded.
                let allowed = f32::EPSILON * absolute * (workers - 1) as f32 / workers as f32;
                let off = (mean[at] - expected[at]).abs();
                assert!(off <= allowed, "{workers} workers: {} is {off} away from {}", mean[at], expected[at]);
            }
        }
    }
}

/// What does not go together is refused on all workers, and the next exchange is a new one.
///
/// # Panics
/// If it is not.
pub fn refuses_what_does_not_go_together<B: Backend, R: Reduce<B>>(group: impl Fn(usize) -> Vec<R>) {
    let seed = |name: &str| Part::Seed(SeedId::new(name).expect("a name"));
    let ends = each(group(3), |mut worker| {
        let odd = worker.place().rank == 2;
        let part = if odd { seed("seed-2") } else { seed("seed-1") };
        let other_part = worker.reduce(&part, tensor(&[1.0])).expect_err("another part");
        let length: &[f32] = if odd { &[1.0, 2.0] } else { &[1.0] };
        let other_length = worker.reduce(&Part::Host, tensor(length)).expect_err("another length");
        let other_kind = match odd {
            true => worker.gather(Vec::new()).expect_err("another kind"),
            false => worker.reduce(&Part::Statistics, tensor(&[1.0])).expect_err("another kind"),
        };
        let fine = numbers(worker.reduce(&Part::Host, tensor(&[3.0])).expect("a mean"));
        ([other_part, other_length, other_kind].map(|error| error.reason()), fine)
    });
    assert!(ends.iter().all(|(reasons, fine)| *reasons == ["workers_apart"; 3] && *fine == [3.0]), "{ends:?}");
}

/// An exchange that one gave up fails on those that come later.
///
/// # Panics
/// If it does not, or if these are not two workers that wait for a moment only.
pub fn gives_up_for_all<B: Backend, R: Reduce<B>>(impatient: Vec<R>) {
    let mut workers = impatient.into_iter();
    let (mut one, mut late) = (workers.next().expect("a worker"), workers.next().expect("another"));
    assert_eq!(one.place(), Place { rank: 0, workers: 2 });
    let timed_out = one.gather(vec![1]).expect_err("nobody came");
    assert!(matches!(&timed_out, ReduceError::TimedOut { missing, .. } if *missing == [1]), "{timed_out:?}");
    assert_eq!(late.gather(vec![2]), Err(ReduceError::GivenUp));
}
