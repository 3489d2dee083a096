//! The follower, the server, and the page in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[cfg(unix)]
mod back;
#[cfg(unix)]
mod chromium;
mod follower;
#[cfg(unix)]
mod odd;
#[cfg(unix)]
mod page;
#[cfg(unix)]
mod rig;
#[cfg(unix)]
mod scripts;
mod server;
