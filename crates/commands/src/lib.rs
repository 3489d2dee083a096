//! The command language.
#![allow(missing_docs, reason = "temporary: follows in the next commits")]

mod order;

pub use order::{BreakerName, Order};
