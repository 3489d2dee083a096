//! What every reducer keeps, whatever carries it.

use std::{thread, time::Duration};

use burn::{backend::Flex, tensor::Tensor};
use kasmina_leyline::SeedId;
use kasmina_reduce::{Part, Reduce, ReduceError};

/// Far longer than an exchange takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn tensor(values: &[f32]) -> Tensor<Flex, 1> {
    Tensor::from_floats(values, &Default::default())
}

pub fn numbers(tensor: Tensor<Flex, 1>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

/// Runs each worker on a thread of its own.
pub fn each<R: Reduce<Flex>, T: Send>(workers: Vec<R>, run: impl Fn(R) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || run(worker))).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

/// The numbers of a worker: their sum depends on the order in which it is made.
fn uneven(rank: usize, count: usize) -> Vec<f32> {
    let number = |at: usize| (((at * 7 + rank * 13) % 101) as f32 - 50.0) * 10_f32.powi((rank % 5) as i32 * 3 - 6);
    (0..count).map(number).collect()
}

/// The mean in pairs by rank, in plain arithmetic.
fn expected(workers: usize, count: usize) -> Vec<f32> {
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
pub fn keeps_its_promises<R: Reduce<Flex>>(group: impl Fn(usize) -> Vec<R>) {
    for workers in [1, 2, 3, 4, 5, 8] {
        let means = each(group(workers), |mut worker| {
            let rank = worker.place().rank;
            let mut means = Vec::new();
            for count in [1, 7, 1000] {
                means.push(numbers(worker.reduce(&Part::Host, tensor(&uneven(rank, count))).unwrap()));
            }
            means
        });
        for of_one in &means {
            for (mean, count) in of_one.iter().zip([1, 7, 1000]) {
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(mean), bits(&expected(workers, count)), "{workers} workers");
            }
        }
        let gathered = each(group(workers), |mut worker| {
            let rank = worker.place().rank;
            (worker.gather(vec![rank as u8; rank]).unwrap(), worker.gather(Vec::new()).unwrap())
        });
        let all: Vec<_> = (0..workers).map(|rank| vec![rank as u8; rank]).collect();
        assert!(gathered.iter().all(|(first, second)| *first == all && *second == vec![Vec::<u8>::new(); workers]));
    }
}

/// What does not go together is refused on all workers, and the next exchange is a new one.
pub fn refuses_what_does_not_go_together<R: Reduce<Flex>>(group: impl Fn(usize) -> Vec<R>) {
    let seed = |name: &str| Part::Seed(SeedId::new(name).unwrap());
    let ends = each(group(3), |mut worker| {
        let odd = worker.place().rank == 2;
        let part = if odd { seed("seed-2") } else { seed("seed-1") };
        let other_part = worker.reduce(&part, tensor(&[1.0])).unwrap_err();
        let other_length = worker.reduce(&Part::Host, tensor(if odd { &[1.0, 2.0] } else { &[1.0] })).unwrap_err();
        let other_kind = match odd {
            true => worker.gather(Vec::new()).unwrap_err(),
            false => worker.reduce(&Part::Statistics, tensor(&[1.0])).unwrap_err(),
        };
        let fine = numbers(worker.reduce(&Part::Host, tensor(&[3.0])).unwrap());
        ([other_part, other_length, other_kind].map(|error| error.reason()), fine)
    });
    assert!(ends.iter().all(|(reasons, fine)| *reasons == ["workers_apart"; 3] && *fine == [3.0]), "{ends:?}");
}

/// An exchange that one gave up fails on those that come later, and the one after it succeeds.
pub fn gives_up_for_all<R: Reduce<Flex>>(impatient: Vec<R>) {
    let [mut one, mut late]: [R; 2] = impatient.try_into().ok().unwrap();
    let timed_out = one.gather(vec![1]).unwrap_err();
    assert!(matches!(&timed_out, ReduceError::TimedOut { missing, .. } if *missing == [1]), "{timed_out:?}");
    assert_eq!(late.gather(vec![2]), Err(ReduceError::GivenUp));
}
