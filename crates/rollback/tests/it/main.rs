//! The store from outside: damage, power cuts, kills, the environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod conformance;
mod damage;
mod document;
mod encoding;
mod environment;
mod faults;
mod history;
mod keeper;
mod kill;
mod power_loss;
