//! `cargo xtask bench`: measures what has a budget, and prints it beside that budget.

mod criterion;
mod rows;
mod table;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use criterion::Estimates;
use rows::ROWS;
use serde::Serialize;
use table::Line;

use crate::{
    failure::Failure,
    progress::Progress,
    stopwatch::Stopwatch,
    workspace::{Metadata, cargo, follow, words},
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
struct Machine {
    cpus: usize,
    os: &'static str,
    arch: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let results = metadata.target_directory.join("xtask-bench");
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

/// Runs all `[[bench]]` targets; criterion writes to `results`, where nothing of an earlier run is left.
fn measure(metadata: &Metadata, results: &Path, quick: bool) -> Result<(), Failure> {
    match fs::remove_dir_all(results) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::file("remove", results)(error)),
        Ok(()) | Err(_) => {}
    }
    let packages = metadata.default_members().into_iter().filter(|(_, package)| package.benches().next().is_some());
    let packages = packages.collect();
    let features = Metadata::features(&packages);
    let mut command = cargo(["bench", "--no-fail-fast", "--features", &features]);
    for (name, package) in &packages {
        command.args(["--package", name]).args(package.benches().flat_map(|bench| ["--bench", bench]));
    }
    command.args(["--", "--noplot"]).env("CRITERION_HOME", results);
    if quick {
        command.args(["--quick", "--warm-up-time", "0.2", "--measurement-time", "1"]);
    }

    let watch = Stopwatch::start();
    let name = words(&command);
    let progress = Progress::start("cargo bench");
    let mut begun = BTreeSet::new();
    let mut said = Vec::new();
    let status = follow(command, |line| {
        said.push(line.to_owned());
        let Some(id) = criterion::begins(line) else {
            return progress.show(line.trim());
        };
        if begun.insert(id.to_owned()) {
            progress.show(format!("{} of {}: {id}", begun.len(), ROWS.len()));
            if progress.is_hidden() {
                eprintln!("{:>6.1} s  measuring {id}", watch.seconds());
            }
        }
    })?;
    if status.success() {
        return Ok(());
    }
    said.iter().for_each(|line| progress.print(line));
    Err(Failure::Command { command: name, status })
}

fn write(path: &Path, measurements: &Measurements<'_>) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(measurements)
        .map_err(|source| Failure::Json { what: "the measurements".to_owned(), source })?;
    fs::write(path, json + "\n").map_err(Failure::file("write", path))
}

impl Machine {
    fn here() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cpus, os: std::env::consts::OS, arch: std::env::consts::ARCH }
    }
}
