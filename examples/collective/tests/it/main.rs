//! What the reducers over Burn's collective operations promise, tested from outside.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "nothing is public in a test, and a test that cannot go on has failed"
)]

mod local;
mod managers;
mod peers;
mod processes;
