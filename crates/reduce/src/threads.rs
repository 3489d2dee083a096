//! Workers that are threads of one process.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use burn::tensor::{Tensor, backend::Backend};

use crate::{Part, Place, Reduce, ReduceError, tree::mean};

/// One of several workers that are threads of one process, on the same device. Made by [`group`](Self::group).
///
/// Whoever comes last to an exchange adds the tensors up, and all get the same one. An exchange that one worker gives up fails on all,
/// whenever they come to it.
pub struct Threads<B: Backend> {
    place: Place,
    timeout: Duration,
    /// How many exchanges this worker has made.
    made: u64,
    table: Arc<Table<B>>,
}

struct Table<B: Backend> {
    exchange: Mutex<Exchange<B>>,
    changed: Condvar,
}

/// The exchange that the workers are making.
struct Exchange<B: Backend> {
    /// How many there have been before.
    number: u64,
    brought: Vec<Option<Brought<B>>>,
    /// How the last exchange ended that a worker has come to, until the worker looks.
    ended: Vec<Option<Outcome<B>>>,
    left: Vec<bool>,
    /// The workers whose leaving ended the last exchange that was given up.
    given_up_for: Vec<usize>,
}

enum Brought<B: Backend> {
    Gradients(Part, Tensor<B, 1>),
    Facts(Vec<u8>),
}

#[derive(Clone)]
enum Given<B: Backend> {
    Mean(Tensor<B, 1>),
    Facts(Vec<Vec<u8>>),
}

type Outcome<B> = Result<Given<B>, ReduceError>;

impl<B: Backend> Threads<B> {
    /// So many workers, by rank, each of which waits at most `timeout` for the others. None for 0.
    #[must_use]
    pub fn group(workers: usize, timeout: Duration) -> Vec<Self> {
        let (brought, ended) = ((0..workers).map(|_| None).collect(), (0..workers).map(|_| None).collect());
        let exchange = Exchange { number: 0, brought, ended, left: vec![false; workers], given_up_for: Vec::new() };
        let table = Arc::new(Table { exchange: Mutex::new(exchange), changed: Condvar::new() });
        let worker = |rank| Self { place: Place { rank, workers }, timeout, made: 0, table: Arc::clone(&table) };
        (0..workers).map(worker).collect()
    }

    fn exchange(&mut self, brings: Brought<B>) -> Outcome<B> {
        let number = self.made;
        self.made += 1;
        let mut exchange = self.table.lock();
        if exchange.number > number {
            return Err(exchange.why_given_up());
        }
        exchange.brought[self.place.rank] = Some(brings);
        if exchange.brought.iter().all(Option::is_some) {
            exchange.complete();
            self.table.changed.notify_all();
            return exchange.take_outcome(self.place.rank);
        }
        let waits = |exchange: &mut Exchange<B>| exchange.number == number && !exchange.is_hopeless();
        let (mut exchange, _) = self
            .table
            .changed
            .wait_timeout_while(exchange, self.timeout, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if exchange.number == number {
            exchange.give_up(self.timeout);
            self.table.changed.notify_all();
        }
        exchange.take_outcome(self.place.rank)
    }
}

impl<B: Backend> Table<B> {
    fn lock(&self) -> MutexGuard<'_, Exchange<B>> {
        // Nothing that is done under the lock leaves it half done.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> Exchange<B> {
    /// Whether somebody who has not come will never come.
    fn is_hopeless(&self) -> bool {
        self.brought.iter().zip(&self.left).any(|(brought, left)| *left && brought.is_none())
    }

    fn complete(&mut self) {
        let brought: Vec<_> = self.brought.iter_mut().filter_map(Option::take).collect();
        let names: Vec<_> = brought.iter().map(Brought::name).collect();
        let given = combine(brought);
        self.number += 1;
        for (ended, own) in self.ended.iter_mut().zip(&names) {
            let apart = names.iter().position(|name| name != own);
            *ended = Some(match apart {
                Some(worker) => Err(ReduceError::Mismatch { worker, ours: own.clone(), theirs: names[worker].clone() }),
                None => Ok(given.clone()),
            });
        }
    }

    fn give_up(&mut self, within: Duration) {
        let came: Vec<bool> = self.brought.iter_mut().map(|brought| brought.take().is_some()).collect();
        let missing: Vec<_> = (0..came.len()).filter(|rank| !came[*rank]).collect();
        let workers: Vec<_> = missing.iter().copied().filter(|rank| self.left[*rank]).collect();
        self.given_up_for.clone_from(&workers);
        let error = match workers.is_empty() {
            true => ReduceError::TimedOut { missing, within },
            false => ReduceError::Left { workers },
        };
        self.number += 1;
        for (ended, came) in self.ended.iter_mut().zip(came) {
            if came {
                *ended = Some(Err(error.clone()));
            }
        }
    }

    /// For a worker that was not waited for.
    fn why_given_up(&self) -> ReduceError {
        match self.given_up_for.as_slice() {
            [] => ReduceError::GivenUp,
            workers => ReduceError::Left { workers: workers.to_vec() },
        }
    }

    /// How the exchange ended that this worker has come to.
    fn take_outcome(&mut self, rank: usize) -> Outcome<B> {
        self.ended[rank].take().unwrap_or_else(|| Err(self.why_given_up()))
    }
}

impl<B: Backend> Brought<B> {
    fn name(&self) -> String {
        match self {
            Self::Gradients(part, values) => format!("{} values of {part}", values.dims()[0]),
            Self::Facts(_) => "facts".to_owned(),
        }
    }
}

/// What all get, if all have brought the same kind of thing.
fn combine<B: Backend>(brought: Vec<Brought<B>>) -> Given<B> {
    let (mut tensors, mut facts) = (Vec::new(), Vec::new());
    for brought in brought {
        match brought {
            Brought::Gradients(_, values) => tensors.push(values),
            Brought::Facts(bytes) => facts.push(bytes),
        }
    }
    let alike = tensors.windows(2).all(|two| two[0].dims() == two[1].dims());
    let mean = if alike && facts.is_empty() { mean(tensors) } else { None };
    mean.map_or(Given::Facts(facts), Given::Mean)
}

impl<B: Backend> Reduce<B> for Threads<B> {
    fn place(&self) -> Place {
        self.place
    }

    fn reduce(&mut self, part: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        match self.exchange(Brought::Gradients(part.clone(), gradients))? {
            Given::Mean(mean) => Ok(mean),
            Given::Facts(_) => Err(ReduceError::Link("facts came back for gradients".to_owned())),
        }
    }

    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        match self.exchange(Brought::Facts(facts))? {
            Given::Facts(facts) => Ok(facts),
            Given::Mean(_) => Err(ReduceError::Link("gradients came back for facts".to_owned())),
        }
    }
}

impl<B: Backend> Drop for Threads<B> {
    /// The others do not wait for a worker that has left.
    fn drop(&mut self) {
        self.table.lock().left[self.place.rank] = true;
        self.table.changed.notify_all();
    }
}
