//! Workers that are processes, without a server in between.

use std::{fmt, ops::Range, time::Duration};

use burn::tensor::backend::Backend;
use kasmina_reduce::{Link, Place, ReduceError};
use tokio::{runtime::Runtime, task::JoinSet, time};

use crate::service::{Host, Service, runtime, wait};

/// What is exposed begins with one of these.
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Workers in processes of their own, each of which downloads from every other what that one brings. A `kasmina_reduce::Linked` makes a
/// `Reduce` of it, which adds up in pairs by rank.
///
/// Each worker listens on a port, on all interfaces, without authentication or encryption. An exchange of `n` bytes with `w` workers sends and
/// receives `n (w - 1)` bytes a worker, over connections that stay open. `B` is any backend; no tensor is put on it.
///
/// An exchange that times out is given up: who comes to it later gets [`ReduceError::GivenUp`], and the next exchange is a new one. A worker that has
/// ended is waited for until the time-out, because it may come back. Then all begin a new group, under another number. A worker that is
/// dropped waits at most 5 seconds for those who are still downloading what it brought last.
///
/// burn-communication installs a subscriber of `tracing` that prints to stdout at level INFO, once for each download, if the process has
/// none: install your own before. It panics in its own tasks when a connection ends, which the panic hook may print; this link makes a
/// [`ReduceError`] of it, so a program must not be built with `panic = "abort"`.
pub struct Peers<B: Backend> {
    place: Place,
    hosts: Vec<Host>,
    timeout: Duration,
    group: u32,
    /// How many exchanges this worker has made.
    made: u32,
    /// What is exposed since then may still be asked for.
    kept_from: u64,
    /// The exchange before, if it succeeded.
    last: Option<u64>,
    service: Service<B>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl<B: Backend> Peers<B> {
    /// Listens on the port of this worker's own host. It waits for no other worker: the first exchange does.
    ///
    /// `hosts` are those of all workers, by rank, as `host:port`. `group` is a number that all workers of a group have, and none of an
    /// earlier group at the same hosts had, because each group counts its exchanges from 0.
    ///
    /// # Errors
    /// [`ReduceError::Link`]: `rank` is not that of a host, the host has no port, or the port does not lead here within `timeout`, most
    /// likely because another program has it.
    pub fn join(hosts: Vec<String>, rank: usize, group: u32, timeout: Duration) -> Result<Self, ReduceError> {
        let place = Place { rank, workers: hosts.len() };
        let hosts = hosts.iter().map(|host| Host::new(host)).collect::<Result<Vec<_>, _>>()?;
        let own =
            hosts.get(rank).ok_or_else(|| ReduceError::Link(format!("rank {rank} of {} workers", hosts.len())))?;
        let runtime = runtime().map_err(|error| ReduceError::Link(error.to_string()))?;
        match Service::start(&runtime, own, timeout.max(LISTENS_WITHIN)) {
            Ok(service) => {
                let (made, kept_from, last, runtime) = (0, u64::from(group) << 32, None, Some(runtime));
                Ok(Self { place, hosts, timeout, group, made, kept_from, last, service, runtime })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }
}

/// A worker that waits for the others for a moment only can still open its port.
const LISTENS_WITHIN: Duration = Duration::from_secs(5);

/// How long a worker that leaves waits for those who are still downloading what it brought last.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
/// Each exchange has two numbers.
const NUMBERS: u64 = 2;
/// What is left of a number beside that of the group. The last one is not used: the service greets itself by it.
const MOST_EXCHANGES: u32 = u32::MAX / 2;

/// One exchange of one worker.
struct Exchange<B: Backend> {
    place: Place,
    hosts: Vec<Host>,
    timeout: Duration,
    /// The number of what this worker brings. The next number is exposed when it has got what all have brought.
    id: u64,
    /// The numbers that are over once all have come to this one.
    over: Range<u64>,
    service: Service<B>,
}

impl<B: Backend> Exchange<B> {
    async fn run(self, sent: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        let mut brought = Vec::with_capacity(1 + sent.len());
        brought.push(SENT);
        brought.extend_from_slice(&sent);
        self.service.expose(self.id, &brought).await;
        let mut received = vec![None; self.place.workers];
        received[self.place.rank] = Some(sent);
        // Dropped when it is late, with all that it has fetched.
        let fetched = time::timeout(self.timeout, self.fetch(&mut received)).await;
        match fetched {
            Ok(Ok(())) => {
                self.service.expose(self.id + 1, &[SENT]).await;
                for over in self.over {
                    self.service.forget(over).await;
                }
                Ok(received.into_iter().flatten().collect())
            }
            Ok(Err(error)) => Err(self.give_up(error, &received).await),
            Err(_) => {
                let missing = (0..self.place.workers).filter(|rank| received[*rank].is_none()).collect();
                Err(self.give_up(ReduceError::TimedOut { missing, within: self.timeout }, &received).await)
            }
        }
    }

    async fn fetch(&self, received: &mut [Option<Vec<u8>>]) -> Result<(), ReduceError> {
        let mut fetching = JoinSet::new();
        for (rank, host) in self.hosts.iter().enumerate().filter(|(rank, _)| *rank != self.place.rank) {
            let (service, host, id) = (self.service.clone(), host.clone(), self.id);
            fetching.spawn(async move { (rank, service.fetch(&host, id).await) });
        }
        while let Some(fetched) = fetching.join_next().await {
            let (rank, mut bytes) = fetched.map_err(|error| ReduceError::Link(error.to_string()))?;
            match bytes.first().copied() {
                Some(SENT) => received[rank] = Some(bytes.split_off(1)),
                Some(GIVEN_UP) => return Err(ReduceError::GivenUp),
                other => {
                    return Err(ReduceError::Link(format!("worker {rank} sent a tensor that begins with {other:?}")));
                }
            }
        }
        Ok(())
    }

    /// Tells those who have not come yet.
    async fn give_up(&self, error: ReduceError, received: &[Option<Vec<u8>>]) -> ReduceError {
        self.service.expose(self.id, &[GIVEN_UP]).await;
        self.service.expose(self.id + 1, &[GIVEN_UP]).await;
        for (host, received) in self.hosts.iter().zip(received) {
            if received.is_none() {
                self.service.hang_up(host).await;
            }
        }
        error
    }
}

impl<B: Backend> Link for Peers<B> {
    fn place(&self) -> Place {
        self.place
    }

    fn exchange(&mut self, sent: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        if self.made == MOST_EXCHANGES {
            return Err(ReduceError::Link(format!("a group makes at most {MOST_EXCHANGES} exchanges")));
        }
        let id = (u64::from(self.group) << 32) | (u64::from(self.made) * NUMBERS);
        self.made += 1;
        self.last = None;
        let Some(runtime) = &self.runtime else { return Err(ReduceError::NotMet) };
        let (place, hosts, timeout) = (self.place, self.hosts.clone(), self.timeout);
        let exchange = Exchange { place, hosts, timeout, id, over: self.kept_from..id, service: self.service.clone() };
        let outcome = wait(runtime, exchange.run(sent))?;
        if outcome.is_ok() {
            (self.kept_from, self.last) = (id, Some(id));
        }
        outcome
    }
}

impl<B: Backend> Drop for Peers<B> {
    /// Waits at most 5 seconds for those who are still downloading what this worker brought last.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let (service, last) = (self.service.clone(), self.last);
        let hosts = std::mem::take(&mut self.hosts);
        let others: Vec<_> = hosts.into_iter().enumerate().filter(|(rank, _)| *rank != self.place.rank).collect();
        let leave = async move {
            if let Some(last) = last {
                for (_, host) in others {
                    service.is_there_or_gone(&host, last + 1).await;
                }
            }
            service.close().await;
        };
        // The others notice by themselves if it does not come to that.
        let _ = wait(&runtime, async { time::timeout(LEAVES_WITHIN, leave).await });
        // Does not wait, so that it can be dropped in a task of another runtime.
        runtime.shutdown_background();
    }
}

impl<B: Backend> fmt::Debug for Peers<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("place", &self.place).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
