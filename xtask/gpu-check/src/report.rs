//! What was checked, as a table and as JSON.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use serde::Serialize;

use crate::{Cases, device::Device, failure::Failure};

/// A check that passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) cases: usize,
    /// The largest difference, or the number that was counted.
    pub(crate) worst: f64,
    pub(crate) tolerance: f64,
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    device: String,
    cases: usize,
    seed: u64,
    checks: Vec<Line>,
    #[serde(skip)]
    filter: &'a [String],
}

#[derive(Serialize)]
struct Line {
    check: &'static str,
    cases: usize,
    worst: Option<f64>,
    tolerance: Option<f64>,
    seconds: f64,
    failure: Option<String>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(device: Device, cases: Cases, filter: &'a [String]) -> Self {
        println!("{:<40} {:>6} {:>10} {:>10} {:>8}", format!("check on {device}"), "cases", "worst", "allowed", "time");
        Self { device: device.to_string(), cases: cases.count, seed: cases.seed, checks: Vec::new(), filter }
    }

    /// Runs a check and prints its line.
    pub(crate) fn check(&mut self, check: &'static str, run: impl FnOnce() -> Result<Checked, Failure>) {
        if !(self.filter.is_empty() || self.filter.iter().any(|text| check.contains(text))) {
            return;
        }
        let started = started();
        // A kernel that panics fails its check, and the others go on.
        let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Failure::Panicked));
        let seconds = started.elapsed().as_secs_f64();
        let line = match outcome {
            Ok(Checked { cases, worst, tolerance }) => {
                println!("{check:<40} {cases:>6} {worst:>10.2e} {tolerance:>10.0e} {seconds:>6.1} s");
                Line { check, cases, worst: Some(worst), tolerance: Some(tolerance), seconds, failure: None }
            }
            Err(failure) => {
                println!("{check:<40} FAILED {seconds:>29.1} s\n  {failure}");
                let failure = Some(failure.to_string());
                Line { check, cases: 0, worst: None, tolerance: None, seconds, failure }
            }
        };
        self.checks.push(line);
    }

    pub(crate) fn finish(self, json: Option<&Path>) -> Result<(), Failure> {
        if let Some(path) = json {
            let file = |source| Failure::File { path: path.to_owned(), source };
            let text = serde_json::to_string_pretty(&self).map_err(|error| file(error.into()))?;
            fs::write(path, text + "\n").map_err(file)?;
        }
        let failed = self.checks.iter().filter(|line| line.failure.is_some()).count();
        if self.checks.is_empty() {
            return Err(Failure::Broken(format!("no check has {} in its name", self.filter.join(" or "))));
        }
        if failed > 0 { Err(Failure::Checks(failed, self.checks.len())) } else { Ok(()) }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a check takes is shown, and nothing depends on it")]
fn started() -> Instant {
    Instant::now()
}
