//! The lock that threads share. In this crate's unit tests it is shuttle's, which runs many interleavings of the
//! threads.

use std::sync::PoisonError;

#[cfg(test)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks. What a panicking thread left behind is used as it is: every change under these locks is complete or has not
/// begun.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
