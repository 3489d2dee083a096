//! Packets, lanes and sinks; the text of a scrape, and scrapes over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod aside;
mod bridge;
mod budget;
mod conformance;
mod duckdb;
mod grafana;
mod http;
mod names;
mod packets;
mod prometheus;
mod reporter;
mod runbook;
mod saturation;
mod stored;
mod tensorboard;
