//! `cargo xtask crash`: a process that obeys commands and trains is killed with SIGKILL over and over, and what it acknowledged
//! is compared with what its store holds.

mod child;
mod commands;
mod finding;
mod ledger;
mod process;
mod protocol;
mod recording;
pub(crate) mod world;

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fastrand::Rng;
use kasmina::rollback::{Journal, Store, StoreError};

pub(crate) use child::{Args as ChildArgs, run as child};

use crate::{failure::Failure, progress::Progress, stopwatch::Stopwatch};
use finding::{Finding, Tally, Wrong};
use ledger::{Held, Ledger};
use process::Moment;
use protocol::Line;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the process is killed
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: u64,
    /// Where the random numbers start: commands, batches and moments of death
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where the stores go, and stay; without it a temporary directory that stays only if something is wrong. On a file system
    /// in memory far more happens between kills, and as much can be found: SIGKILL loses nothing that a file was given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// So many kills does a store live through, on average: some things only happen to old ones, some to new ones.
const STORE_LIFE: u64 = 40;

/// A process that works is killed within so many lines of its report, and so many microseconds: mostly in the middle of an operation.
const LINES: usize = 80;
const DELAY: u64 = 200_000;

/// One thing that is wrong has others behind it: so many are printed.
const PRINTED: usize = 20;

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let temporary = tempfile::Builder::new().prefix("kasmina-crash-").tempdir();
    let mut temporary = temporary.map_err(Failure::file("create", &std::env::temp_dir()))?;
    let base = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&base).map_err(Failure::file("create", &base))?;

    let mut tally = Tally { seed: args.seed, ..Tally::default() };
    let mut random = Rng::with_seed(args.seed);
    let progress = Progress::start("crash");
    let mut trial = Trial::begin(&base, &mut tally)?;
    while tally.kills < args.kills && tally.findings() == 0 {
        if trial.kills > 0 && random.u64(..STORE_LIFE) == 0 {
            trial = Trial::begin(&base, &mut tally)?;
        }
        let moment = trial.moment(&mut random);
        let seed = random.u64(..);
        let findings = trial.round(moment, seed, &mut random, &mut tally)?;
        findings.iter().for_each(|finding| tally.count(finding));
        for finding in findings.iter().take(PRINTED) {
            progress.warn(format_args!("kill {} of --seed {} ({moment:?}): {finding}", tally.kills, args.seed));
        }
        if let Some(more @ 1..) = findings.len().checked_sub(PRINTED) {
            progress.warn(format_args!("and {more} more, which follow from these or are like them"));
        }
        progress.show(format_args!("kill {}/{}, {} commands", tally.kills, args.kills, tally.commands_acknowledged));
        if progress.is_hidden() && tally.kills.is_multiple_of(50) {
            progress.warn(format_args!("{} kills, {} commands", tally.kills, tally.commands_acknowledged));
        }
    }
    drop(progress);
    tally.seconds = (watch.seconds() * 10.0).round() / 10.0;
    let line = serde_json::to_string(&tally).map_err(|source| Failure::Json { what: "the result".into(), source })?;
    println!("{line}");
    if tally.findings() == 0 {
        return Ok(());
    }
    temporary.disable_cleanup(args.dir.is_none());
    Err(Failure::Crash(format!(
        "{} findings; the store is as it was found: {}",
        tally.findings(),
        trial.path.display()
    )))
}

/// A store, and what is known of it.
struct Trial {
    path: PathBuf,
    ledger: Ledger,
    kills: u64,
    /// How long the last recovery took that was waited for.
    recovery: Duration,
}

impl Trial {
    fn begin(base: &Path, tally: &mut Tally) -> Result<Self, Failure> {
        tally.stores += 1;
        let path = base.join(format!("run-{}", tally.stores));
        if path.exists() {
            return Err(Failure::Crash(format!("{} is there already", path.display())));
        }
        let publish = world::publish(&path.join("kernels"));
        publish.map_err(|error| Failure::Crash(format!("the kernels cannot be published: {error}")))?;
        Ok(Self { path, ledger: Ledger::new(), kills: 0, recovery: Duration::from_millis(60) })
    }

    /// Mostly while it works; now and then, and mostly where a store is new, while it begins.
    fn moment(&self, random: &mut Rng) -> Moment {
        let beginning = self.kills < 2 || random.u64(..8) == 0;
        if beginning && random.u64(..4) != 0 {
            let limit = self.recovery.as_micros() as u64 * 3 / 2;
            return Moment::AfterStart(Duration::from_micros(random.u64(..=limit)));
        }
        Moment::AfterLines(random.usize(..LINES), Duration::from_micros(random.u64(..DELAY)))
    }

    /// One life, one death, and what is left.
    fn round(
        &mut self,
        moment: Moment,
        seed: u64,
        random: &mut Rng,
        tally: &mut Tally,
    ) -> Result<Vec<Finding>, Failure> {
        self.keep_wires(random)?;
        let life = process::live(&self.path, seed, moment)?;
        self.recovery = life.recovery.unwrap_or(self.recovery);
        self.kills += 1;
        tally.kills += 1;
        tally.killed_during_recovery +=
            u64::from(!life.lines.iter().any(|line| matches!(line, Line::Recovered { .. })));
        let mut findings = Vec::new();
        match held(&self.path.join("store"), &mut findings) {
            Ok(held) => findings.extend(self.ledger.round(&held, &life.lines, tally)),
            Err(error) => findings.push(Finding::new(Wrong::Unreadable, error.to_string())),
        }
        Ok(findings)
    }

    /// Commands that the next process is to be sent again, though its journal may have dropped them.
    fn keep_wires(&self, random: &mut Rng) -> Result<(), Failure> {
        let accepted = self.ledger.accepted();
        let wires: Vec<_> =
            (0..16).filter_map(|_| random.choice(&accepted)).map(|wire| STANDARD.encode(wire)).collect();
        let path = self.path.join("replays");
        fs::write(&path, wires.join("\n")).map_err(Failure::file("write", &path))
    }
}

/// The journal. Weights that it needs and that are damaged or missing are findings.
fn held(directory: &Path, findings: &mut Vec<Finding>) -> Result<Held, StoreError> {
    let mut records = Vec::new();
    let mut store = Store::open(directory)?;
    store.journal.visit(0..u64::MAX, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    drop(store);
    if !records.is_empty()
        && let Err(error) = Store::audit(directory)
    {
        findings.push(Finding::new(Wrong::Unreadable, error.to_string()));
    }
    Ok(Held { records })
}
