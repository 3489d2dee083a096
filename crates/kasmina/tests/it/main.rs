//! What the manager promises, tested from outside, in one binary: each test binary links all of Burn.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "nothing is public in a test, and a test that cannot go on has failed"
)]

mod bad_input;
mod batch_norm;
mod bit_identity;
mod blend_out;
mod common;
mod context;
mod dispatch;
mod dropout;
mod durability;
mod forgetting;
mod full_disk;
mod grown;
mod growth;
mod half_precision;
mod idle;
mod innocent;
mod joins;
mod judged;
mod late_kernels;
mod lazy;
mod loads;
mod memory;
mod model;
mod optimizers;
mod orders;
mod plain_path;
mod ports;
mod prometheus;
mod proofs;
mod random_hosts;
mod readme;
mod reset;
mod rollback;
mod shared_parameter;
mod steps;
mod telemetry;
mod unusual;
mod workers;
