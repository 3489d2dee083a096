//! A teacher: what it takes, what it says, what a student learns from it, and what happens when it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod activations;
mod breaker;
mod cache;
mod checkpointing;
mod common;
mod files;
mod loss;
mod managed;
