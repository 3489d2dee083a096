//! What a reducer promises, tested from outside.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "nothing is public in a test, and a test that cannot go on has failed"
)]

mod link;
mod redis;
mod threads;
