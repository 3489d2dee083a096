//! `cargo xtask test`: all tests, what they add up to, and what did not run.

use std::fmt;

use regex::Regex;

use crate::{
    failure::Failure,
    stopwatch::Stopwatch,
    workspace::{self, SPECIAL_FEATURES, cargo, follow},
};

#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose names contain one of these; any other argument of a Rust test binary works too
    #[arg(last = true)]
    filter: Vec<String>,
}

/// What the lines of `cargo test` add up to.
struct Totals {
    result: Regex,
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
    /// Whether a binary is listing the tests that passed, with what they printed.
    lists_successes: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let features = workspace::features(&workspace::metadata()?.workspace_default_packages());
    let mut command = cargo(["test", "--workspace", "--exclude", "xtask-codegen", "--no-fail-fast"]);
    // A test that cannot run here says so on standard output, which Rust shows of passed tests only when asked.
    command.args(["--features", &features, "--", "--show-output"]).args(&args.filter);

    let mut totals = Totals::new()?;
    let status = follow(command, |line| {
        if totals.add(line) {
            println!("{line}");
        }
    })?;
    println!("{totals} in {:.0} s", watch.seconds());
    let special = SPECIAL_FEATURES.iter().map(|(name, why)| format!("feature {name}: {why}"));
    for line in totals.skipped.iter().cloned().chain(special) {
        println!("  skipped {line}");
    }
    match (status.success(), totals.passed) {
        (false, _) => Err(Failure::Tests("tests failed; the lines above say which".to_owned())),
        (true, 0) => Err(Failure::Tests(format!("no test ran {}", args.filter.join(" ")).trim_end().to_owned())),
        (true, _) => Ok(()),
    }
}

impl Totals {
    fn new() -> Result<Self, Failure> {
        let result = Regex::new(r"^test result: .*?(\d+) passed; (\d+) failed;")
            .map_err(|error| Failure::Tests(error.to_string()))?;
        Ok(Self { result, passed: 0, failed: 0, skipped: Vec::new(), lists_successes: false })
    }

    /// Counts a line, and says whether to show it: not what passed tests have printed.
    fn add(&mut self, line: &str) -> bool {
        if let Some(counts) = self.result.captures(line) {
            let count =
                |index| counts.get(index).and_then(|number| number.as_str().parse::<u64>().ok()).unwrap_or_default();
            self.passed += count(1);
            self.failed += count(2);
            self.lists_successes = false;
        } else if line == "successes:" || line == "failures:" {
            self.lists_successes = line == "successes:";
        } else if let Some((test, why)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored")) {
            self.skipped.push(format!("{test}: {}", if why.is_empty() { "no reason given" } else { &why[2..] }));
        } else if let Some(skipped) = line.strip_prefix("SKIPPED: ") {
            self.skipped.push(skipped.to_owned());
        }
        !self.lists_successes
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn results_add_up_and_skipped_tests_are_named() {
        let lines = "test a ... ok\ntest slow ... ignored, takes an hour\ntest other ... ignored\nsuccesses:\n\
                     SKIPPED: device: no GPU\nnoise\nfailures:\n---- b stdout ----\n\
                     test result: FAILED. 2 passed; 1 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.00s\n\
                     test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let mut totals = Totals::new().unwrap();
        let shown: Vec<&str> = lines.lines().filter(|line| totals.add(line)).collect();
        assert_eq!(totals.to_string(), "5 passed, 1 failed, 3 skipped");
        assert_eq!(totals.skipped, ["slow: takes an hour", "other: no reason given", "device: no GPU"]);
        assert!(shown.contains(&"---- b stdout ----") && !shown.contains(&"noise"), "{shown:?}");
    }
}
