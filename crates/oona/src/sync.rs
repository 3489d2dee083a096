//! The locks of the bus in the process. In this crate's unit tests they are shuttle's, which runs many interleavings of
//! the threads.

#[cfg(test)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
