//! Replicas that agree, although messages are lost, workers die, and some of them lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod codec;
mod group;
mod keeper;
mod lease;
mod ledger;
mod member;
mod redis;
mod rollback;
mod simulation;
mod sketch;
mod worker;
