//! `cargo xtask verify`: everything that must hold before a commit, check by check.

pub(crate) mod architecture;
mod floors;
mod packages;
mod versions;

use std::process::Command;

use cargo_metadata::Metadata;

use crate::{
    codegen,
    failure::Failure,
    fuzz,
    progress::{Progress, only_progress},
    stopwatch::Stopwatch,
    test,
    workspace::{self, cargo, follow, words},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not compile the `cuda` feature, which takes minutes the first time
    #[arg(long)]
    no_cuda: bool,
    /// Compile the fuzz targets too, which takes nightly Rust, cargo-fuzz, and minutes the first time
    #[arg(long)]
    fuzz_build: bool,
    /// Test the example of burn-train too, which compiles Burn once more with other features
    #[arg(long)]
    burn_train: bool,
}

const CUDA: &str = "cuda";
const FUZZ: &str = "fuzz-build";
const BURN_TRAIN: &str = "burn-train";

type Check = (&'static str, fn(&Metadata) -> Result<(), Failure>);

/// In the order in which they run: the quick ones first.
const CHECKS: [Check; 11] = [
    ("format", |_| quietly(cargo(["fmt", "--all", "--check"]))),
    ("architecture", architecture::check),
    ("versions", versions::check),
    ("packages", packages::check),
    ("codegen", |_| quietly(codegen::generator(true))),
    ("clippy", clippy),
    ("tests", |_| test::run(&test::Args::default())),
    ("docs", docs),
    (CUDA, |_| quietly(cargo(["check", "--package", "kasmina", "--features", "cuda"]))),
    (FUZZ, fuzz::check),
    (BURN_TRAIN, burn_train),
];

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let metadata = workspace::metadata()?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Some(why) = args.skipped(name) {
            println!("SKIPPED  {name:<13} {why}");
            continue;
        }
        let watch = Stopwatch::start();
        let outcome = check(&metadata);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        let cause = outcome.err().map(|failure| format!("  {failure}")).unwrap_or_default();
        println!("{word:<7}  {name:<13} {:>7.1} s{cause}", watch.seconds());
        if !cause.is_empty() {
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Checks { names: failed, of: CHECKS.len() }) }
}

impl Args {
    /// Why a check is left out, if it is.
    fn skipped(&self, check: &str) -> Option<&'static str> {
        match check {
            CUDA if self.no_cuda => Some("--no-cuda was given: nobody knows whether the feature still compiles"),
            FUZZ if !self.fuzz_build => {
                Some("--fuzz-build was not given: the corpus was tested, but nobody knows whether the targets compile")
            }
            BURN_TRAIN if !self.burn_train => {
                Some("--burn-train was not given: nobody knows whether the example of docs/BURN_TRAIN.md still works")
            }
            _ => None,
        }
    }
}

fn clippy(metadata: &Metadata) -> Result<(), Failure> {
    let features = workspace::features(&metadata.workspace_default_packages());
    let mut command = cargo(["clippy", "--workspace", "--exclude", "xtask-codegen", "--all-targets"]);
    command.args(["--features", &features, "--", "-D", "warnings"]);
    quietly(command)
}

fn docs(metadata: &Metadata) -> Result<(), Failure> {
    let features = workspace::features(&metadata.workspace_default_packages());
    let mut command = cargo(["doc", "--no-deps", "--features", &features]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    quietly(command)
}

/// A workspace of its own: in this one, burn-train would have Burn compiled with its features for everything.
fn burn_train(metadata: &Metadata) -> Result<(), Failure> {
    let mut command = cargo(["test", "--locked", "--manifest-path", "examples/burn-train/Cargo.toml"]);
    command.arg("--target-dir").arg(metadata.target_directory.join(BURN_TRAIN));
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
