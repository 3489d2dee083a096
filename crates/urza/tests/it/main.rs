//! Kernels over the bus, in the process and over a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod faults;
mod hostile;
mod library;
mod prewarm;
mod redis;
mod trainer;

mod world;
