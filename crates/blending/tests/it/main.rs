//! The crate's public behaviour. Without the feature `tensor`, only the settings are tested.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "flex")]
mod common;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod gradients;
#[cfg(feature = "flex")]
mod plain;
mod settings;
#[cfg(feature = "flex")]
mod stats;
#[cfg(feature = "vulkan")]
mod vulkan;
