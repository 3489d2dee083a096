//! What the workers of a process know of each other.

use std::{
    any::TypeId,
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

use burn::tensor::backend::Backend;
use burn_collective::PeerId;
use kasmina_reduce::ReduceError;

/// The backends whose server is in use. burn-collective has one server for each backend of a process.
static IN_USE: Mutex<BTreeSet<TypeId>> = Mutex::new(BTreeSet::new());

/// The number of the next worker. A call of a group that has ended must not be taken for one of the group that follows.
static NEXT_PEER: AtomicU32 = AtomicU32::new(0);

/// A number that no other worker of this process has had.
pub(crate) fn next_peer() -> PeerId {
    NEXT_PEER.fetch_add(1, Ordering::SeqCst).into()
}

/// The only group of this backend in the process, until it is dropped.
pub(crate) struct Group {
    backend: TypeId,
    reset: fn(),
    /// How many exchanges each worker has come to.
    come: Vec<AtomicU64>,
    ended: AtomicBool,
}

impl Group {
    pub(crate) fn new<B: Backend>(workers: usize) -> Result<Self, ReduceError> {
        let backend = TypeId::of::<B>();
        if !IN_USE.lock().unwrap_or_else(PoisonError::into_inner).insert(backend) {
            return Err(ReduceError::Link("this process has a group of this backend already".to_owned()));
        }
        let come = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { backend, reset: burn_collective::reset_collective::<B>, come, ended: AtomicBool::new(false) })
    }

    /// A worker comes to its next exchange.
    pub(crate) fn come(&self, rank: usize) {
        self.come[rank].fetch_add(1, Ordering::SeqCst);
    }

    /// The workers that have not come to the exchange that this one is in.
    pub(crate) fn missing(&self, rank: usize) -> Vec<usize> {
        let at = |rank: usize| self.come[rank].load(Ordering::SeqCst);
        (0..self.come.len()).filter(|other| at(*other) < at(rank)).collect()
    }

    /// Whether an exchange has timed out.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Ends the group: calls that wait at the server return.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // It panics if the server has died.
        let _ = thread::spawn(self.reset).join();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        IN_USE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.backend);
    }
}
