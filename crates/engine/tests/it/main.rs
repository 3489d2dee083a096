//! The engine from outside: orders one by one, and random histories against invariants.

#![allow(unreachable_pub, reason = "shared by the modules of one test")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop at what it does not expect"
)]

mod allocations;
mod batch;
mod breakers;
mod conservation;
mod endings;
mod fossil;
mod hunts;
mod invariants;
mod judgement;
mod leaving;
mod measurements;
mod model;
mod orders;
mod records;
mod restore;
mod stored;
mod world;
