//! Commands, telemetry and field reports over the bus, in the process and over a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod commands;
mod news;
mod redis;
mod sinks;

mod world;
