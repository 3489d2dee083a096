//! `cargo xtask verify`: everything that must hold before a commit, check by check.

mod architecture;

use std::process::Command;

use crate::{
    codegen,
    failure::Failure,
    fuzz,
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
    /// Compile the fuzz targets too, which takes nightly Rust, cargo-fuzz, and minutes the first time
    #[arg(long)]
    fuzz_build: bool,
}

impl Args {
    /// Why a check is left out, where it is.
    fn skipped(&self, check: &str) -> Option<&'static str> {
        match check {
            CUDA if self.no_cuda => Some("--no-cuda was given: nobody knows whether the feature still compiles"),
            FUZZ if !self.fuzz_build => {
                Some("--fuzz-build was not given: the corpus was tested, but nobody knows whether the targets compile")
            }
            _ => None,
        }
    }
}

struct Check {
    name: &'static str,
    run: fn(&Metadata) -> Result<(), Failure>,
}

const CUDA: &str = "cuda";
const FUZZ: &str = "fuzz-build";

/// In the order in which they run: the quick ones first.
const CHECKS: [Check; 8] = [
    Check { name: "format", run: |_| quietly(cargo(["fmt", "--all", "--check"])) },
    Check { name: "architecture", run: architecture::check },
    Check { name: "codegen", run: |_| quietly(codegen::generator(true)) },
    Check { name: "clippy", run: clippy },
    Check { name: "tests", run: |metadata| test::run_filtered(metadata, &[]) },
    Check { name: "docs", run: docs },
    Check { name: CUDA, run: |_| quietly(cargo(["check", "--package", "kasmina", "--features", "cuda"])) },
    Check { name: FUZZ, run: fuzz::check },
];

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let mut failed = Vec::new();
    for check in &CHECKS {
        if let Some(why) = args.skipped(check.name) {
            println!("SKIPPED  {:<13} {why}", check.name);
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
pub(crate) fn quietly(command: Command) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use super::{Args, CHECKS, FUZZ};

    #[test]
    fn what_takes_more_than_rust_is_left_out_unless_asked_for_and_can_be() {
        let skipped = |args: Args| CHECKS.iter().filter(move |check| args.skipped(check.name).is_some()).count();
        assert_eq!(skipped(Args { no_cuda: false, fuzz_build: true }), 0);
        assert_eq!(skipped(Args { no_cuda: true, fuzz_build: false }), 2);
        assert!(
            Args { no_cuda: false, fuzz_build: false }.skipped(FUZZ).is_some_and(|why| why.contains("--fuzz-build"))
        );
    }
}
