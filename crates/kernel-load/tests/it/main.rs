//! The crate's public behaviour. One test draws from the backend's random numbers, which belong to the process: no other
//! test of this binary may.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod common;
mod forward;
mod late;
mod library;
mod module;
mod random_numbers;
mod reference;
mod slot;
mod verify;
mod weights;
