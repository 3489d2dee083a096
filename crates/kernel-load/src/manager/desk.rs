//! The manager's state behind its lock.

use super::effects::Effects;
use super::loads::Loads;
use crate::sync::{Mutex, lock};

/// One lock for everything, so that nobody sees a kernel neither in the cache nor on its way.
pub(crate) struct Desk<T> {
    loads: Mutex<Loads<T>>,
}

impl<T> Desk<T> {
    pub(crate) fn new(loads: Loads<T>) -> Self {
        Self { loads: Mutex::new(loads) }
    }

    /// Looks at the state, or changes it in a way that asks for nothing.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Loads<T>) -> R) -> R {
        look(&mut lock(&self.loads))
    }

    /// Changes the state. Returns what that asks for, to be done without the lock.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Loads<T>) -> R) -> (R, Effects<T>) {
        let mut loads = lock(&self.loads);
        let result = change(&mut loads);
        (result, loads.effects())
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
