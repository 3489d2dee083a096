//! A grown network, trained, saved, damaged, loaded and served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod artifact;
#[cfg(feature = "ndarray")]
mod backends;
mod column;
mod common;
mod damage;
mod dtypes;
mod file;
mod forward;
mod mismatch;
mod module;
mod serve;
mod train;
