//! `cargo xtask demo --bus`: policy, kernels, telemetry and trainer as four processes over Redis, each of which is killed once. The
//! network that they grow is the one that grows in one process, byte for byte.

mod cast;
mod library;
mod policy;
mod reader;
mod story;
mod trainer;

use std::{collections::BTreeSet, error::Error, fs, io::Write, path::Path, path::PathBuf, thread, time::Duration};

use kasmina_oona::doubles::RedisServer;

use self::{
    cast::{Cast, Part},
    reader::{Line, Moves},
    trainer::Place,
};
pub(super) use self::{
    story::{A_MOMENT, PATIENCE, Story, join, secret},
    trainer::Outcome,
};
use crate::{failure::Failure, progress::Progress, stopwatch::Stopwatch};

/// What one of the processes is told.
#[derive(clap::Args)]
pub(crate) struct PartArgs {
    part: Part,
    #[arg(long)]
    bus: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
}

/// One of the processes.
pub(crate) fn part(args: &PartArgs) -> Result<(), Failure> {
    play(args).map_err(|error| Failure::Demo(format!("{}: {error}", args.part)))
}

fn play(args: &PartArgs) -> Result<(), Box<dyn Error>> {
    let story = Story::new(args.dir.clone(), args.seed)?;
    match args.part {
        Part::Policy => policy::decide(&args.bus, &story),
        Part::Kernels => library::serve(&args.bus, &story),
        Part::Telemetry => reader::read(&args.bus, &story),
        Part::Trainer => {
            let outcome = trainer::over(&args.bus, &story, &|place| {
                // Whoever started this process may be gone; then there is nobody to tell.
                let _ = tell(place);
            })?;
            let path = outcome_file(&story.directory);
            Ok(fs::write(path, serde_json::to_string(&outcome)?)?)
        }
    }
}

/// One write a line, so that whoever reads has it whole or not at all.
fn tell(place: &Place) -> Result<(), Box<dyn Error>> {
    let mut text = serde_json::to_string(place)?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn outcome_file(directory: &Path) -> PathBuf {
    directory.join("outcome.json")
}

/// Runs the story in this process, then in four over Redis, and compares.
pub(crate) fn run(bus: &str, seed: u64, out: &Path) -> Result<(), Failure> {
    let demo = |error: Box<dyn Error>| Failure::Demo(error.to_string());
    let stopwatch = Stopwatch::start();
    let [alone, together] = ["alone", "together"].map(|name| out.join(format!("bus-{seed}-{name}")));
    for directory in [&alone, &together] {
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(Failure::file("remove", directory))?;
        }
        fs::create_dir_all(directory).map_err(Failure::file("create", directory))?;
    }
    if bus != "redis" {
        // Before anything is trained: is this an address?
        drop(join(bus, None).map_err(demo)?);
    }
    println!("One process");
    let story = Story::new(alone, seed).map_err(demo)?;
    story.publish().map_err(demo)?;
    let progress = Progress::start("alone");
    let show =
        |place: &Place| progress.show(format_args!("epoch {}/{}  {}", place.epoch, story.plan.epochs, place.stage));
    let (expected, moves) = trainer::alone(&story, &show).map_err(demo)?;
    drop(progress);
    println!("  {} on the test images, {}", percent(expected.accuracy), expected.stage);

    println!("Four processes over Redis");
    let story = Story::new(together, seed).map_err(demo)?;
    story.publish().map_err(demo)?;
    let (outcome, killed) = together_over(bus, &story).map_err(demo)?;
    println!("  {} on the test images, {}", percent(outcome.accuracy), outcome.stage);
    let heard = reader::lines(&reader::file(&story));
    let problems = problems(&expected, &moves, &outcome, &heard);
    println!("\nkilled and started again: {killed}");
    println!("model, one process    {}\nmodel, four processes {}", expected.digest, outcome.digest);
    println!("moves of the seed: {}, each heard by the telemetry process", moves.len());
    println!("{:.0} s", stopwatch.seconds());
    if problems.is_empty() { Ok(()) } else { Err(Failure::Demo(problems.join("; "))) }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What differs from the run in one process.
fn problems(expected: &Outcome, moves: &BTreeSet<(u64, String)>, outcome: &Outcome, heard: &[Line]) -> Vec<String> {
    let mut problems = Vec::new();
    if outcome != expected {
        problems
            .push(format!("the run in four processes ended as {outcome:?}, the one in one process as {expected:?}"));
    }
    let heard_moves: Moves = heard
        .iter()
        .filter_map(|line| match line {
            Line::Move { step, to } => Some((*step, to.clone())),
            Line::Report { .. } => None,
        })
        .collect();
    if heard_moves != *moves {
        problems.push(format!("the telemetry process heard of {heard_moves:?}, and the seed made {moves:?}"));
    }
    let reports: BTreeSet<_> = heard.iter().filter(|line| matches!(line, Line::Report { .. })).collect();
    if reports.len() != 1 {
        problems.push(format!("one field report was expected, not {reports:?}"));
    }
    problems
}

/// Runs the four processes, kills each of them once, stops and kills the server, and waits for the end.
fn together_over(bus: &str, story: &Story) -> Result<(Outcome, String), Box<dyn Error>> {
    let mut server = None;
    let address = if bus == "redis" {
        let options = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
        let started = RedisServer::start(&options)
            .ok_or("redis-server is not installed (on Debian: apt-get install redis-server)")?;
        server.insert(started).address()
    } else {
        bus.to_owned()
    };
    let mut cast = Cast::new(&address, story)?;
    let progress = Progress::start("together");
    let mut killed = Vec::new();
    let mut incidents = vec![
        // The seed is about to ask for its kernel, and there is nobody who has it.
        (When::Waits("DORMANT"), Incident::Kill(Part::Kernels)),
        (When::Waits("TRAINING"), Incident::Kill(Part::Policy)),
        (When::Epoch(8), Incident::Kill(Part::Telemetry)),
        (When::Epoch(12), Incident::Kill(Part::Trainer)),
    ];
    if server.is_some() {
        incidents.push((When::Epoch(16), Incident::StopServer));
        incidents.push((When::Epoch(20), Incident::KillServer));
    }
    let silent = Stopwatch::start();
    let mut heard_at = Duration::ZERO;
    while !cast.trainer_has_ended()? {
        let Some(place) = cast.hear(A_MOMENT) else {
            if silent.elapsed() > heard_at + 2 * PATIENCE {
                return Err("the trainer has not said anything for two minutes".into());
            }
            continue;
        };
        heard_at = silent.elapsed();
        progress.show(format_args!("epoch {}/{}  {}", place.epoch, story.plan.epochs, place.stage));
        let due = |(when, _): &(When, Incident)| when.has_come(&place);
        while let Some(at) = incidents.iter().position(due) {
            let (_, incident) = incidents.remove(at);
            progress.print(format_args!("  step {:>5}  {incident}", place.step));
            killed.push(incident.to_string());
            match (incident, &mut server) {
                (Incident::Kill(part), _) => cast.restart(part)?,
                (Incident::StopServer, Some(server)) => {
                    server.pause();
                    thread::sleep(Duration::from_millis(500));
                    server.resume();
                }
                (Incident::KillServer, Some(server)) => server.restart(),
                (Incident::StopServer | Incident::KillServer, None) => {}
            }
        }
    }
    if let Some((_, incident)) = incidents.first() {
        return Err(format!("the run was over before: {incident}").into());
    }
    let outcome = serde_json::from_str(&fs::read_to_string(outcome_file(&story.directory))?)?;
    // The last packets are stored; their reader may be behind.
    let waiting = Stopwatch::start();
    let reported = || reader::lines(&reader::file(story)).iter().any(|line| matches!(line, Line::Report { .. }));
    while !reported() && waiting.elapsed() < PATIENCE {
        thread::sleep(A_MOMENT);
    }
    Ok((outcome, killed.join(", ")))
}

/// When something happens to a process.
enum When {
    /// The trainer waits for an order for a seed in this stage.
    Waits(&'static str),
    Epoch(u64),
}

#[derive(Clone, Copy)]
enum Incident {
    Kill(Part),
    StopServer,
    KillServer,
}

impl When {
    fn has_come(&self, place: &Place) -> bool {
        match self {
            Self::Waits(stage) => place.waits && place.stage == *stage,
            Self::Epoch(epoch) => place.epoch >= *epoch,
        }
    }
}

impl std::fmt::Display for Incident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kill(part) => write!(f, "{part} killed"),
            Self::StopServer => f.write_str("Redis stopped for half a second"),
            Self::KillServer => f.write_str("Redis killed"),
        }
    }
}
