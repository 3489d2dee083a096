//! Runs cases, and says what they found.

use std::{fs, path::Path};

use kasmina::safety::{Clock, SystemClock};
use kasmina_measure::{Change, Effort, Meter, Report, Row, table};
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
    let is_wanted = |row: &Row| is_wanted(row, &args.filter);
    let mut cases: Vec<Case> = devices::cases(args)?;
    cases.retain(|case| case.rows.iter().any(is_wanted));
    if cases.is_empty() {
        return Err(Failure::Options(format!("no row has {} in its id", args.filter.join(" or "))));
    }
    if args.list {
        for row in cases.iter().flat_map(|case| &case.rows).filter(|row| is_wanted(row)) {
            let beside = row.yardstick.as_ref().map(|it| format!(", beside {it}")).unwrap_or_default();
            println!("{:<44} {}{beside}", row.id, row.title);
        }
        return Ok(());
    }
    let clock = SystemClock::new();
    let machine = devices::machine(args.device, clock.unix());
    let mut report = Report { machine, quick: args.quick, options: args.options(), rows: Vec::new() };
    // Read before anything is measured: a wrong path should not cost minutes.
    let baseline = args.baseline.as_deref().map(|path| baseline(path, &report)).transpose()?;
    println!("{}\n", report.machine.text());
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut progress = Progress::of(cases.len());
    for case in cases {
        progress.next(case.rows.iter().find(|row| is_wanted(row)).map_or("", |row| &row.id));
        // Some rows come from one measurement: not all of them may be wanted.
        let lines = case.measure(Meter::new(&clock, effort));
        report.rows.extend(lines.into_iter().filter(|line| is_wanted(&line.row)));
    }
    progress.end();
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

fn is_wanted(row: &Row, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|text| row.id.contains(text.as_str()))
}

/// An earlier run that can be compared with this one.
fn baseline(path: &Path, report: &Report) -> Result<Report, Failure> {
    let baseline: Report = read(path)?;
    let differences = report.differences(&baseline);
    if differences.is_empty() {
        return Ok(baseline);
    }
    Err(Failure::Options(format!("{} cannot be compared with this run: {}", path.display(), differences.join(", "))))
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
