//! The crate's public behaviour. One test draws random numbers from the backend. They are shared by the whole process, so no other
//! test of this binary may draw any.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod blueprints;
mod common;
mod dtypes;
mod forward;
mod function;
mod gradients;
mod late;
mod library;
mod loads;
mod module;
#[cfg(feature = "object-store")]
mod object_store;
mod random_numbers;
mod reference;
mod slot;
mod verify;
mod weights;
