//! `cargo xtask verify`: everything that must hold before a commit, check by check.

mod architecture;

use std::process::Command;

use crate::{
    codegen,
    failure::Failure,
    progress::{Progress, only_progress},
    stopwatch::Stopwatch,
    test,
    workspace::{Metadata, cargo, follow, words},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not compile the `cuda` feature, which takes minutes the first time
    #[arg(long)]
    no_cuda: bool,
}

struct Check {
    name: &'static str,
    run: fn(&Metadata) -> Result<(), Failure>,
}

const CUDA: &str = "cuda";

/// In the order in which they run: the quick ones first.
const CHECKS: [Check; 7] = [
    Check { name: "format", run: |_| quietly(cargo(["fmt", "--all", "--check"])) },
    Check { name: "architecture", run: architecture::check },
    Check { name: "codegen", run: |_| quietly(codegen::generator(true)) },
    Check { name: "clippy", run: clippy },
    Check { name: "tests", run: |metadata| test::run_filtered(metadata, &[]) },
    Check { name: "docs", run: docs },
    Check { name: CUDA, run: |_| quietly(cargo(["check", "--package", "kasmina", "--features", "cuda"])) },
];

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let mut failed = Vec::new();
    for check in &CHECKS {
        if args.no_cuda && check.name == CUDA {
            println!(
                "SKIPPED  {:<13} --no-cuda was given: nobody knows whether the feature still compiles",
                check.name
            );
            continue;
        }
        let watch = Stopwatch::start();
        let outcome = (check.run)(&metadata);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        let cause = outcome.err().map(|failure| format!("  {failure}")).unwrap_or_default();
        println!("{word:<7}  {:<13} {:>7.1} s{cause}", check.name, watch.seconds());
        if !cause.is_empty() {
            failed.push(check.name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Checks { names: failed, of: CHECKS.len() }) }
}

fn clippy(metadata: &Metadata) -> Result<(), Failure> {
    let features = Metadata::features(&metadata.default_members());
    let mut command = cargo(["clippy", "--workspace", "--exclude", "xtask-codegen", "--all-targets"]);
    command.args(["--features", &features, "--", "-D", "warnings"]);
    quietly(command)
}

fn docs(metadata: &Metadata) -> Result<(), Failure> {
    let features = Metadata::features(&metadata.default_members());
    let mut command = cargo(["doc", "--no-deps", "--features", &features]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    quietly(command)
}

/// Runs a command and prints what it said only when it fails.
fn quietly(command: Command) -> Result<(), Failure> {
    let name = words(&command);
    let progress = Progress::start(&name);
    let mut said = Vec::new();
    let status = follow(command, |line| {
        progress.show(line.trim());
        said.push(line.to_owned());
    })?;
    if status.success() {
        return Ok(());
    }
    for line in said.iter().filter(|line| !only_progress(line)) {
        progress.print(line);
    }
    Err(Failure::Command { command: name, status })
}
