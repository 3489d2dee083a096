//! The engine from outside: orders one by one, and random histories against invariants.

#![allow(unreachable_pub, reason = "shared by the modules of one test")]

mod batch;
mod invariants;
mod model;
mod orders;
mod restore;
mod world;
