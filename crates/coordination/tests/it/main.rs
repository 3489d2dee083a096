//! Replicas that agree, although messages are lost, workers die, and some of them lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

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
