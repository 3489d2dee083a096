//! `cargo xtask bench`: measures what has a budget, and prints it beside that budget.

mod criterion;
mod rows;
mod table;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cargo_metadata::Metadata;
use criterion::Estimates;
use rows::ROWS;
use serde::Serialize;
use table::Line;

use crate::{
    failure::Failure,
    workspace::{self, cargo, stream},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure for about a second per row: enough to see what is wrong, too short to compare
    #[arg(long)]
    quick: bool,
    /// Write all numbers and the machine to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Measurements<'a> {
    machine: Machine,
    quick: bool,
    rows: &'a [Line],
}

#[derive(Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    os: &'static str,
    arch: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let metadata = workspace::metadata()?;
    let results = metadata.target_directory.join("xtask-bench").into_std_path_buf();
    let measured = measure(&metadata, &results, args.quick);
    let estimates = Estimates::read(&results)?;
    let lines: Vec<Line> = ROWS.iter().map(|row| Line::judge(row, &estimates)).collect();
    println!("{}", table::render(&lines));
    for id in estimates.without(&ROWS) {
        println!("no row: {id}");
    }
    if let Some(path) = &args.json {
        write(path, &Measurements { machine: Machine::here(), quick: args.quick, rows: &lines })?;
    }
    measured?;
    table::verdict(&lines).map_or(Ok(()), |problem| Err(Failure::Budget(problem)))
}

/// Runs all `[[bench]]` targets; criterion writes to `results`, from which an earlier run is removed first.
fn measure(metadata: &Metadata, results: &Path, quick: bool) -> Result<(), Failure> {
    match fs::remove_dir_all(results) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::file("remove", results)(error)),
        Ok(()) | Err(_) => {}
    }
    let mut packages = metadata.workspace_default_packages();
    packages.retain(|package| workspace::benches(package).next().is_some());
    let mut command = cargo(["bench", "--no-fail-fast", "--features", &workspace::features(&packages)]);
    for package in packages {
        command.args(["--package", &package.name]);
        command.args(workspace::benches(package).flat_map(|bench| ["--bench", bench]));
    }
    command.args(["--", "--noplot"]).env("CRITERION_HOME", results);
    if quick {
        command.args(["--quick", "--warm-up-time", "0.2", "--measurement-time", "1"]);
    }
    stream(&mut command)
}

fn write(path: &Path, measurements: &Measurements<'_>) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(measurements)
        .map_err(|source| Failure::Json { what: "the measurements".to_owned(), source })?;
    fs::write(path, json + "\n").map_err(Failure::file("write", path))
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cpus, os: std::env::consts::OS, arch: std::env::consts::ARCH }
    }
}
