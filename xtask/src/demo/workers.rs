//! `cargo xtask demo --workers N`: processes that train one growing network together, each on its share of every batch. Signed commands reach
//! one of them each, and rounds make all carry them out before the same step. One worker is killed and comes back, and a command makes
//! all go back by an epoch; at the end all have the same bytes.

mod group;
mod rounds;
mod supervisor;
mod worker;

use std::{collections::BTreeSet, error::Error, fs, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

use self::supervisor::{Ended, Supervisor};
use super::processes::{Outcome, Story};
use crate::{failure::Failure, progress::Progress, stopwatch::Stopwatch};

/// What one of the workers is told.
#[derive(clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    bus: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    rank: usize,
    #[arg(long)]
    workers: usize,
}

/// What a worker says to whoever has started it, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Said {
    /// It has no group: it has just started, or a worker of its group was lost. It could go back to these epochs.
    Waits { rank: usize, epochs: Vec<u64>, why: String },
    /// It has taken a step.
    At { rank: usize, step: u64, epoch: u64, stage: String },
    /// It has gone back because a round has decided so; it has taken these steps.
    WentBack { rank: usize, step: u64 },
    /// It has taken all steps.
    Done { rank: usize, outcome: Outcome, state: String },
}

/// What a worker is told: to meet the others, and where all go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meet {
    /// How many groups there have been before.
    generation: u64,
    /// `None`: from the start.
    epoch: Option<u64>,
}

/// One of the workers.
pub(crate) fn worker(args: &WorkerArgs) -> Result<(), Failure> {
    worker::work(args).map_err(|error| Failure::Demo(format!("worker {}: {error}", args.rank)))
}

/// Runs the workers, kills one, and compares what all have come to.
pub(super) fn run(workers: usize, bus: &str, seed: u64, out: &Path) -> Result<(), Failure> {
    let demo = |error: Box<dyn Error>| Failure::Demo(error.to_string());
    let stopwatch = Stopwatch::start();
    let directory = out.join(format!("workers-{seed}"));
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(Failure::file("remove", &directory))?;
    }
    fs::create_dir_all(&directory).map_err(Failure::file("create", &directory))?;
    let story = Story::new(directory, seed).map_err(demo)?;
    story.publish().map_err(demo)?;
    worker::save_start(&story).map_err(demo)?;
    println!("{workers} processes, each with a replica and its share of every batch");
    let progress = Progress::start("workers");
    let ended = Supervisor::new(bus, &story, workers).and_then(|supervisor| supervisor.run(&progress)).map_err(demo)?;
    drop(progress);
    let Ended { ends, incidents } = ended;
    println!("\nkilled and started again: {incidents}");
    for (rank, (outcome, state)) in ends.iter().enumerate() {
        let accuracy = 100.0 * outcome.accuracy;
        println!("worker {rank}: {accuracy:.1} % on the test images, {}, model {}", outcome.stage, outcome.digest);
        println!("          seeds {state}");
    }
    println!("{:.0} s", stopwatch.seconds());
    let distinct: BTreeSet<_> = ends.iter().map(|(outcome, state)| (&outcome.digest, state)).collect();
    if distinct.len() == 1 {
        println!("all have the same bytes");
        Ok(())
    } else {
        Err(Failure::Demo(format!("the workers have come to {} different networks", distinct.len())))
    }
}
