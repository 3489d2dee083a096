//! A bus in the process.

mod broker;
mod bus;
mod log;
mod shared;

pub use broker::LocalBroker;
pub use bus::LocalBus;
pub use shared::DeadLetter;

#[cfg(test)]
#[path = "local/interleaved_tests.rs"]
mod tests;
