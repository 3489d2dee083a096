//! Measures what Kasmina promises, each row in turns with its yardstick, in one process. `cargo xtask bench` builds and runs it; docs/PERFORMANCE.md
//! says how to read it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot set up has nothing to measure; a panic fails its row"
)]

mod areas;
mod case;
mod cli;
mod devices;
mod failure;
mod hosts;
mod patience;
mod picture;
mod progress;
mod run;
mod scale;
mod setting;
mod telemetry;
mod threads;
mod trial;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
