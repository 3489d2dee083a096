//! Workers that are threads, with a device each.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use burn::tensor::{Tensor, backend::Backend};
use burn_collective::{AllReduceStrategy, CollectiveConfig};
use kasmina_reduce::{Part, Place, Reduce, ReduceError};

use crate::{
    caller::{Answer, Ask, Caller, Outcome},
    group::{Group, next_peer},
};

/// All threads that register are this crate's own, so nobody is waited for.
const REGISTERED_WITHIN: Duration = Duration::from_secs(10);

/// One of several workers that are threads of one process, with a device each. Made by [`group`](Self::group).
///
/// The gradients go from device to device in a tree, and one sum goes back to all: they get the same bits. With three workers or more,
/// burn-collective adds up in an order that differs from exchange to exchange, so a run cannot be repeated to the bit; a mean of `w` workers
/// is at most `(w - 1) / w` units in the last place of the sum of absolute values away from that in pairs by rank.
/// On one device, `kasmina_reduce::Threads` does the same in an order that is always the same, and costs less.
///
/// Beside its tensor, an exchange costs a sum of 201 floats a worker, which says what each brings. Facts go as floats, one a byte, in a
/// sum that has room for the longest of each worker: `w` workers with `n` bytes make a tensor of `4wn` bytes.
///
/// # When a worker does not come
/// burn-collective has no time-out: its calls are made by a thread of the worker, and waited for by the worker. Once an exchange has timed
/// out, the group has ended on all workers. Those who come late get [`ReduceError::GivenUp`] once, and everybody [`ReduceError::Ended`] after that.
pub struct Collective<B: Backend> {
    place: Place,
    timeout: Duration,
    asks: Sender<Ask<B>>,
    answers: Receiver<Outcome<B>>,
    /// Whether this worker has heard that the group has ended.
    knows_the_end: bool,
    group: Arc<Group>,
}

impl<B: Backend> Collective<B> {
    /// A worker for each device, by rank, each of which waits at most `timeout` for the others. A process has one group of a backend at a time.
    ///
    /// # Errors
    /// [`ReduceError::Link`]: there is such a group already, or burn-collective refuses it.
    pub fn group(devices: Vec<B::Device>, timeout: Duration) -> Result<Vec<Self>, ReduceError> {
        let workers = devices.len();
        let group = Arc::new(Group::new::<B>(workers)?);
        let config = CollectiveConfig::default()
            .with_num_devices(workers)
            .with_local_all_reduce_strategy(AllReduceStrategy::Tree(2));
        let worker = |(rank, device)| {
            let place = Place { rank, workers };
            let ((asks, asked), (answered, answers)) = (channel(), channel());
            Caller { peer: next_peer(), place, device }.run(config.clone(), asked, answered);
            Self { place, timeout, asks, answers, knows_the_end: false, group: Arc::clone(&group) }
        };
        let mut workers: Vec<_> = devices.into_iter().enumerate().map(worker).collect();
        for worker in &mut workers {
            worker.wait(REGISTERED_WITHIN)?;
        }
        Ok(workers)
    }

    fn exchange(&mut self, ask: Ask<B>) -> Outcome<B> {
        if self.group.has_ended() {
            return Err(self.why_ended());
        }
        self.group.come(self.place.rank);
        self.asks.send(ask).map_err(|_| died())?;
        self.wait(self.timeout)
    }

    fn wait(&mut self, within: Duration) -> Outcome<B> {
        match self.answers.recv_timeout(within) {
            Ok(Err(ReduceError::Link(_))) if self.group.has_ended() => Err(self.why_ended()),
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => Err(died()),
            // Another one was faster.
            Err(RecvTimeoutError::Timeout) if self.group.has_ended() => Err(self.why_ended()),
            Err(RecvTimeoutError::Timeout) => {
                let missing = self.group.missing(self.place.rank);
                self.knows_the_end = true;
                self.group.end();
                Err(ReduceError::TimedOut { missing, within })
            }
        }
    }

    fn why_ended(&mut self) -> ReduceError {
        match std::mem::replace(&mut self.knows_the_end, true) {
            true => ReduceError::Ended,
            false => ReduceError::GivenUp,
        }
    }
}

fn died() -> ReduceError {
    ReduceError::Link("burn-collective has panicked".to_owned())
}

fn mixed_up<T>() -> Result<T, ReduceError> {
    Err(ReduceError::Link("the answer is of another exchange".to_owned()))
}

impl<B: Backend> Reduce<B> for Collective<B> {
    fn place(&self) -> Place {
        self.place
    }

    fn reduce(&mut self, part: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        match self.exchange(Ask::Mean(part.clone(), gradients))? {
            Answer::Mean(mean) => Ok(mean),
            Answer::Facts(_) | Answer::Met => mixed_up(),
        }
    }

    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        match self.exchange(Ask::Facts(facts))? {
            Answer::Facts(facts) => Ok(facts),
            Answer::Mean(_) | Answer::Met => mixed_up(),
        }
    }
}

impl<B: Backend> fmt::Debug for Collective<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collective").field("place", &self.place).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
