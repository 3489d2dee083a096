//! Test doubles: a store in memory, a disk that loses power or fails, and what every implementation has to do.

pub mod conformance;
mod memory;
mod power;
mod simulated;

pub use memory::MemoryStore;
pub use power::Image;
pub use simulated::{Operation, SimulatedDisk};
