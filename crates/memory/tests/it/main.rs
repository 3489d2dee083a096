//! The cache, and the governor of everything that holds memory.

mod cache;
mod governor;
