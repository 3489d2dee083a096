//! Runs cases, and says what they found.

use std::{fs, path::Path};

use kasmina::safety::{Clock, SystemClock};
use kasmina_measure::{Change, Effort, Meter, Report, table};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    case::Case,
    cli::{Cli, Command, TableArgs},
    devices,
    failure::Failure,
    picture,
    progress::Progress,
    scale, telemetry,
};

pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Some(Command::Scale(args)) => scale::measure(args),
        None => measure(&cli.table),
    }
}

fn measure(args: &TableArgs) -> Result<(), Failure> {
    let cases: Vec<Case> = devices::cases(args)?.into_iter().filter(|case| wanted(case, &args.filter)).collect();
    if args.list {
        for row in cases.iter().flat_map(|case| &case.rows) {
            let beside = row.yardstick.as_ref().map(|it| format!(", beside {it}")).unwrap_or_default();
            println!("{:<44} {}{beside}", row.id, row.title);
        }
        return Ok(());
    }
    if cases.is_empty() {
        return Err(Failure::Options(format!("no row has {} in its id", args.filter.join(" or "))));
    }
    // Read before anything is measured: a wrong path should not cost minutes.
    let baseline: Option<Report> = args.baseline.as_deref().map(read).transpose()?;
    let clock = SystemClock::new();
    let machine = devices::machine(args.device, clock.unix());
    println!("{}\n", machine.text());
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut progress = Progress::of(cases.len());
    let mut rows = Vec::new();
    for case in cases {
        progress.next(case.rows.first().map_or("", |row| &row.id));
        rows.extend(case.measure(Meter::new(&clock, effort)));
    }
    progress.end();
    let report = Report { machine, quick: args.quick, options: args.options(), rows };
    println!("{}", table(&report.rows));
    if let Some(path) = &args.json {
        write(path, &report)?;
    }
    if let Some(path) = &args.picture {
        picture::draw(&report, path)?;
    }
    if let Some(path) = &args.telemetry {
        telemetry::write(&report, clock.unix(), path)?;
    }
    let changes = baseline.map(|baseline| report.changes_since(&baseline)).unwrap_or_default();
    say(&changes, args.baseline.as_deref());
    report.problem(args.strict, &changes).map_or(Ok(()), |problem| Err(Failure::Budget(problem)))
}

/// Whether one of its rows is asked for.
fn wanted(case: &Case, filter: &[String]) -> bool {
    filter.is_empty() || case.rows.iter().any(|row| filter.iter().any(|text| row.id.contains(text.as_str())))
}

fn say(changes: &[Change], baseline: Option<&Path>) {
    let Some(baseline) = baseline else { return };
    println!("\nagainst {}:", baseline.display());
    for Change { id, before, after, is_worse } in changes {
        println!("  {} {id}: {before:.3} -> {after:.3}", if *is_worse { "worse " } else { "better" });
    }
    if changes.is_empty() {
        println!("  nothing has changed beyond the noise");
    }
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::file("read", path))?;
    serde_json::from_str(&text).map_err(|source| Failure::Json { path: path.to_owned(), source })
}

pub(crate) fn write(path: &Path, what: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(what).map_err(|source| Failure::Json { path: path.to_owned(), source })?;
    fs::write(path, json + "\n").map_err(Failure::file("write", path))
}
