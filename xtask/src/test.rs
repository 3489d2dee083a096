//! `cargo xtask test`: all tests, one line per test binary, and what did not run.

mod report;

use report::{Report, Totals};

use crate::{
    failure::Failure,
    progress::{Progress, only_progress},
    stopwatch::Stopwatch,
    workspace::{Metadata, SPECIAL_FEATURES, cargo, follow},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose names contain one of these; any other argument of a Rust test binary works too
    #[arg(last = true)]
    filter: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    run_filtered(&Metadata::read()?, &args.filter)
}

/// Runs the tests of all packages with all features but the special ones, documentation included.
pub(crate) fn run_filtered(metadata: &Metadata, filter: &[String]) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let features = Metadata::features(&metadata.default_members());
    let mut command = cargo(["test", "--workspace", "--exclude", "xtask-codegen", "--no-fail-fast"]);
    command.args(["--message-format", "json-render-diagnostics", "--features", &features]);
    // A test says on standard output that it skips itself, and Rust shows that of passed tests only when asked.
    command.args(["--", "--show-output"]).args(filter);

    let progress = Progress::start("cargo test");
    let mut report = Report::default();
    let status = follow(command, |line| {
        for line in report.read(line) {
            progress.print(line);
        }
        progress.show(if only_progress(line) { line.trim() } else { report.current() });
    })?;
    for line in report.finish() {
        progress.print(line);
    }
    drop(progress);

    println!("{} in {:.1} s", report.totals, watch.seconds());
    let special = SPECIAL_FEATURES.iter().map(|(name, why)| format!("feature {name}: {why}"));
    println!("not run:");
    for line in report.not_run.iter().cloned().chain(special) {
        println!("  {line}");
    }
    verdict(report.totals, status.success(), filter)
}

fn verdict(totals: Totals, success: bool, filter: &[String]) -> Result<(), Failure> {
    if totals.failed > 0 {
        Err(Failure::Tests(format!("{} of {} tests failed", totals.failed, totals.ran())))
    } else if !success {
        Err(Failure::Tests("cargo test failed; the lines above say why".to_owned()))
    } else if totals.ran() > 0 {
        Ok(())
    } else if filter.is_empty() {
        Err(Failure::Tests("no test ran".to_owned()))
    } else {
        Err(Failure::Tests(format!("no test ran: none matches {}", filter.join(" "))))
    }
}

#[cfg(test)]
mod tests {
    use super::{Totals, verdict};

    #[test]
    fn only_tests_that_ran_and_passed_are_a_success() {
        let with = |passed, failed| Totals { passed, failed, ..Totals::default() };
        let filter = ["blend".to_owned()];
        assert!(verdict(with(1, 0), true, &[]).is_ok());
        for (totals, success, filter, message) in [
            (with(1, 2), false, &[][..], "2 of 3 tests failed"),
            (with(1, 0), false, &[], "cargo test failed; the lines above say why"),
            (with(0, 0), true, &[], "no test ran"),
            (with(0, 0), true, &filter, "no test ran: none matches blend"),
        ] {
            assert_eq!(verdict(totals, success, filter).unwrap_err().to_string(), message);
        }
    }
}
