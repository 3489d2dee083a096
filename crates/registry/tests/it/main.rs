//! The crate's public behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod ownership;
mod registry;
