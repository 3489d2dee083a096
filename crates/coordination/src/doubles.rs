//! A group of replicas in a world where everything goes wrong, from a seed.

mod chain;
mod exhaustive;
mod liar;
mod network;
mod replica;
mod simulation;
mod world;

pub use chain::Violation;
pub use exhaustive::{Explored, Scenario, explore};
pub use simulation::{Simulated, Simulation, simulate};
