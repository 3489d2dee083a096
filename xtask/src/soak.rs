//! `cargo xtask soak`: a manager that works for a long time, and whether it needs more and more memory or disk.

mod chart;
mod churn;
mod slope;

use std::{fs, path::PathBuf};

use kasmina::{ProcessMemory, memory::ResidentProbe};
use serde::Serialize;

use crate::{bench::Machine, failure::Failure, progress::Progress, stopwatch::Stopwatch};
use churn::{Churn, Counts};
use slope::Slope;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many training steps are taken
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    steps: u64,
    /// Where the random numbers start: commands and batches
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where `soak.json`, `soak.png` and the store go; without it a temporary directory that is removed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Samples of a whole run.
const SAMPLES: u64 = 500;

/// The share of the samples from the start that are not looked at: caches, ledgers and the allocator fill up.
const WARM_UP: f64 = 0.25;

/// Memory may grow by so many bytes in 1,000 steps. Our choice: 16 MiB in a million steps.
const MOST_GROWTH: f64 = 16.0 * 1024.0;

/// Growth over the whole run that is less than this is not told from the allocator's pages.
const LEAST_GROWTH: f64 = 4.0 * 1024.0 * 1024.0;

/// Standard errors by which a slope must lie above what is allowed.
const SIGNIFICANT: f64 = 3.0;

/// What the store may have on disk. Our choice: journal and blobs of this run come to a few megabytes between two compactions.
const MOST_STORED: u64 = 64 << 20;

/// What was seen after a step.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sample {
    step: u64,
    resident_bytes: u64,
    journal_bytes: u64,
    store_bytes: u64,
    blobs: u64,
    telemetry_packets: u64,
    telemetry_bytes: u64,
    seeds_on_record: u64,
}

/// What `soak.json` says.
#[derive(Serialize)]
struct Soak<'a> {
    machine: Machine,
    steps: u64,
    seed: u64,
    seconds: f64,
    steps_per_second: f64,
    counts: &'a Counts,
    /// Resident memory, after the warm-up.
    memory: Slope,
    most_growth_per_1000_steps: f64,
    most_store_bytes: u64,
    store_bytes_allowed: u64,
    samples: &'a [Sample],
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let temporary = tempfile::Builder::new().prefix("kasmina-soak-").tempdir();
    let temporary = temporary.map_err(Failure::file("create", &std::env::temp_dir()))?;
    let out = args.out.clone().unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&out).map_err(Failure::file("create", &out))?;
    let failed = |error: Box<dyn std::error::Error>| Failure::Soak(error.to_string());

    let (watch, progress) = (Stopwatch::start(), Progress::start("soak"));
    let run = out.join("run");
    if run.exists() {
        fs::remove_dir_all(&run).map_err(Failure::file("remove", &run))?;
    }
    let mut churn = Churn::begin(&run, args.seed).map_err(failed)?;
    let mut memory = ProcessMemory::new();
    let every = (args.steps / SAMPLES).max(1);
    let mut samples = Vec::new();
    for step in 1..=args.steps {
        churn.step().map_err(failed)?;
        if !step.is_multiple_of(every) {
            continue;
        }
        let resident = memory.resident().ok_or_else(|| Failure::Soak("resident memory is not known here".into()))?;
        let sample = Sample { step, resident_bytes: resident, ..churn.sample().map_err(failed)? };
        samples.push(sample);
        let now = format!(
            "step {step}, {:.0}/s, {:.1} MiB resident, {:.2} MiB stored, {} blobs, {} commands",
            step as f64 / watch.seconds(),
            mib(resident),
            mib(sample.store_bytes),
            sample.blobs,
            churn.counts().commands,
        );
        progress.show(&now);
        if progress.is_hidden() && samples.len().is_multiple_of(50) {
            progress.warn(now);
        }
    }
    drop(progress);
    let seconds = watch.seconds();
    let points: Vec<_> = samples.iter().map(|it| (it.step as f64 / 1e3, it.resident_bytes as f64)).collect();
    let warm = points.get((points.len() as f64 * WARM_UP) as usize..).unwrap_or_default();
    let slope = Slope::of(warm).ok_or_else(|| Failure::Soak("too few steps for a slope: there must be 20".into()))?;
    let stored = samples.iter().map(|sample| sample.store_bytes).max().unwrap_or_default();
    let soak = Soak {
        machine: Machine::here(),
        steps: args.steps,
        seed: args.seed,
        seconds: (seconds * 10.0).round() / 10.0,
        steps_per_second: (args.steps as f64 / seconds * 10.0).round() / 10.0,
        counts: churn.counts(),
        memory: slope,
        most_growth_per_1000_steps: MOST_GROWTH,
        most_store_bytes: stored,
        store_bytes_allowed: MOST_STORED,
        samples: &samples,
    };
    let json = serde_json::to_string_pretty(&soak)
        .map_err(|source| Failure::Json { what: "the measurements".to_owned(), source })?;
    let path = out.join("soak.json");
    fs::write(&path, json + "\n").map_err(Failure::file("write", &path))?;
    chart::draw(&samples, &slope, &out.join("soak.png"))?;
    println!(
        "{} steps, {} commands in {seconds:.0} s: memory {:+.0} ± {:.0} bytes per 1,000 steps; store at most {:.2} MiB",
        args.steps,
        soak.counts.commands,
        slope.per_unit,
        slope.standard_error,
        mib(stored),
    );
    let problem = verdict(&slope, stored).or_else(|| churn.missing());
    problem.map_or(Ok(()), |problem| Err(Failure::Soak(problem)))
}

/// What is wrong, if something is.
fn verdict(slope: &Slope, stored: u64) -> Option<String> {
    if slope.is_above(MOST_GROWTH, SIGNIFICANT) && slope.rise() > LEAST_GROWTH {
        return Some(format!("memory grows by {:.0} bytes in 1,000 steps, at most {MOST_GROWTH}", slope.per_unit));
    }
    (stored > MOST_STORED).then(|| format!("the store had {stored} bytes, at most {MOST_STORED}"))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::{MOST_STORED, Slope, verdict};

    /// Samples of a run of `steps` thousand steps whose memory grows by `growth` bytes in 1,000, with noise of 1 MiB.
    fn slope(steps: u64, growth: f64) -> Slope {
        let noise = |step: u64| if step.is_multiple_of(2) { 0.0 } else { 1e6 };
        let points: Vec<_> = (0..steps).map(|step| (step as f64, 1e8 + growth * step as f64 + noise(step))).collect();
        Slope::of(&points).unwrap()
    }

    #[test]
    fn growth_is_refused_if_it_is_fast_and_certain() {
        assert!(verdict(&slope(1_000, 40_000.0), 0).is_some());
        assert_eq!(verdict(&slope(1_000, 10_000.0), 0), None, "slow");
        assert_eq!(verdict(&slope(50, 40_000.0), 0), None, "2 MB in all");
    }

    #[test]
    fn store_that_is_too_large_is_refused() {
        assert_eq!(verdict(&slope(100, 0.0), MOST_STORED), None);
        assert!(verdict(&slope(100, 0.0), MOST_STORED + 1).is_some());
    }
}
