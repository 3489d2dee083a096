//! Verification, against commands that other implementations have signed and against itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod verify;
