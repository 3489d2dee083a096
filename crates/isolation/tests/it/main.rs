//! The crate's public behaviour, on real passes of a small host.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod grafts;
mod host_pass;
mod learning_pass;
mod ledger;
mod measures;
mod random_hosts;
mod rehearse;
mod riders;
mod statistics;
mod three_heads;
mod trials;
mod views;
mod world;
