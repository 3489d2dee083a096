//! The default policy at every gate, the doubles, and the suite for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod contribution;
mod policy;
