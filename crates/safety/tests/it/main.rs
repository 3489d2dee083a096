//! The breaker against a model, and the suite that every clock runs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod breaker;
mod clock;
mod compile_monitor;
