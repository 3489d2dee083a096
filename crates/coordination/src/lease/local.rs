//! A lease of workers in one process.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kasmina_leyline::Monotonic;
use kasmina_safety::Clock;

use super::{Lease, LeaseError, Tenure};
use crate::WorkerId;

/// A lease of workers in one process. Clones are handles of the same lease.
#[derive(Clone)]
pub struct LocalLease {
    shared: Arc<Mutex<Shared>>,
    clock: Arc<dyn Clock>,
    ttl: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    token: u64,
    tenancies: u64,
    /// Whose tenancy, of which worker, and its end.
    held: Option<(u64, WorkerId, Monotonic)>,
}

impl LocalLease {
    /// A lease that ends so long after it was taken or renewed last.
    #[must_use]
    pub fn new(ttl: Duration, clock: impl Clock + 'static) -> Self {
        Self { shared: Arc::default(), clock: Arc::new(clock), ttl }
    }

    /// The lease as one worker sees it. Each call stands for a process of its own.
    #[must_use]
    pub fn of(&self, worker: WorkerId) -> Tenancy {
        let mut shared = self.lock();
        shared.tenancies += 1;
        let number = shared.tenancies;
        drop(shared);
        Tenancy { lease: self.clone(), worker, number }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LocalLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLease").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// A [`LocalLease`] as one worker sees it.
#[derive(Debug)]
pub struct Tenancy {
    lease: LocalLease,
    worker: WorkerId,
    number: u64,
}

impl Lease for Tenancy {
    fn take(&mut self, above: u64) -> Result<Tenure, LeaseError> {
        let now = self.lease.clock.monotonic();
        let until = now.after(self.lease.ttl);
        let mut shared = self.lease.lock();
        let held = shared.held.filter(|(_, _, ends)| now < *ends);
        match held {
            Some((number, holder, _)) if number != self.number => {
                return Ok(Tenure { token: shared.token, holder, is_mine: false });
            }
            Some(_) => {}
            None => shared.token = shared.token.max(above).saturating_add(1),
        }
        shared.held = Some((self.number, self.worker, until));
        Ok(Tenure { token: shared.token, holder: self.worker, is_mine: true })
    }

    fn look(&mut self) -> Result<Option<Tenure>, LeaseError> {
        let now = self.lease.clock.monotonic();
        let shared = self.lease.lock();
        let held = shared.held.filter(|(_, _, ends)| now < *ends);
        Ok(held.map(|(number, holder, _)| Tenure { token: shared.token, holder, is_mine: number == self.number }))
    }

    fn release(&mut self) -> Result<(), LeaseError> {
        let mut shared = self.lease.lock();
        if shared.held.is_some_and(|(number, _, _)| number == self.number) {
            shared.held = None;
        }
        Ok(())
    }
}
