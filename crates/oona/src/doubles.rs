//! A Redis server for tests.

mod server;

pub use server::RedisServer;
