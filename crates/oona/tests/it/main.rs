//! The bus from outside, in the process and over real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod conformance;
mod environment;
mod hostile;
mod keys;
mod kill;
mod local;
mod model;
mod nonsense;
mod settings;
mod stall;
mod stress;

mod worlds;
