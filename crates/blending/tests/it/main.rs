//! The crate's public behaviour. Without the feature `tensor`, only the settings are tested.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "tensor")]
mod common;
#[cfg(feature = "tensor")]
mod flex;
#[cfg(feature = "tensor")]
mod gradients;
mod settings;
#[cfg(feature = "tensor")]
mod stats;
