//! A group of replicas in a world where everything goes wrong, from a seed.

mod chain;
mod liar;
mod network;
mod replica;
mod simulation;
mod world;

pub use chain::Violation;
pub use simulation::{Simulated, Simulation, simulate};
