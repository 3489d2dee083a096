//! The command language from outside: what is written is read back, what cannot be meant is refused, and the document agrees
//! with the table.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod common;
mod document;
mod reading;
mod round_trip;
mod secrets;
mod sending;
