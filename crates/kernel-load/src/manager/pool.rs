//! A bounded number of threads that run jobs.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender};

use super::priority::give_way;

/// Threads that start when there is work for them. Whoever submits jobs bounds how many wait.
pub(crate) struct Pool<J> {
    most: usize,
    jobs: Receiver<J>,
    exits: (Sender<usize>, Receiver<usize>),
    state: Mutex<State<J>>,
}

struct State<J> {
    /// `None` once the pool is closed.
    sender: Option<Sender<J>>,
    threads: Vec<Option<JoinHandle<()>>>,
}

/// What became of a pool's threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) joined: usize,
    /// They did not come back. Each ends when what it waits for does.
    pub(crate) abandoned: usize,
}

impl<J: Send + 'static> Pool<J> {
    /// A pool of at most so many threads, and at least one.
    pub(crate) fn new(most: usize) -> Self {
        let (sender, jobs) = channel::unbounded();
        let state = Mutex::new(State { sender: Some(sender), threads: Vec::new() });
        Self { most: most.max(1), jobs, exits: channel::unbounded(), state }
    }

    /// Gives a job to a thread, and starts one that calls `run` if fewer than all have started.
    ///
    /// # Errors
    /// The job, and why there is no thread for it.
    pub(crate) fn submit(&self, job: J, run: impl Fn(J) + Send + 'static) -> Result<(), (J, io::Error)> {
        let mut state = self.state();
        let State { sender: Some(sender), threads } = &mut *state else {
            return Err((job, io::Error::other("the load manager is closed")));
        };
        if threads.len() < self.most {
            let (jobs, exit) = (self.jobs.clone(), Exit { thread: threads.len(), exits: self.exits.0.clone() });
            let work = move || {
                let _exit = exit;
                give_way();
                jobs.iter().for_each(run);
            };
            match thread::Builder::new().name(format!("kasmina-load-{}", threads.len())).spawn(work) {
                Ok(thread) => threads.push(Some(thread)),
                Err(error) if threads.is_empty() => return Err((job, error)),
                // Those that have started will do it.
                Err(_) => {}
            }
        }
        // The pool has a receiver itself, so this does not fail.
        sender.send(job).map_err(|job| (job.0, io::ErrorKind::BrokenPipe.into()))
    }

    /// Ends the threads once they have done what was submitted, and joins them. At most `busy` jobs are not done; for
    /// these it waits until `grace` has passed. A second call does nothing.
    pub(crate) fn close(&self, busy: usize, grace: Duration) -> Joined {
        let mut threads = {
            let mut state = self.state();
            state.sender = None;
            std::mem::take(&mut state.threads)
        };
        let (all, mut joined) = (threads.len(), 0);
        let mut join = |thread: usize| {
            // A job that panics is caught where it runs.
            let _ = threads.get_mut(thread).and_then(Option::take).map(JoinHandle::join);
        };
        let late = channel::after(grace);
        while joined < all {
            let exit = if joined < all.saturating_sub(busy) {
                self.exits.1.recv().ok()
            } else {
                channel::select_biased! {
                    recv(self.exits.1) -> exit => exit.ok(),
                    recv(late) -> _ => None,
                }
            };
            let Some(thread) = exit else { break };
            join(thread);
            joined += 1;
        }
        Joined { joined, abandoned: all - joined }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a thread ends, however it ends.
struct Exit {
    thread: usize,
    exits: Sender<usize>,
}

impl Drop for Exit {
    fn drop(&mut self) {
        let _ = self.exits.send(self.thread);
    }
}
