//! `cargo xtask soak`: a manager that works for a long time, and whether it needs more and more memory or disk.

mod chart;
mod churn;
mod slope;

use std::{fs, path::PathBuf};

use kasmina::{ProcessMemory, memory::ResidentProbe};
use serde::Serialize;

use crate::{failure::Failure, heap::live_bytes, machine::Machine, progress::Progress, stopwatch::Stopwatch};
use churn::{Churn, Counts};
use slope::Slope;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many training steps are taken
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(LEAST_STEPS..))]
    steps: u64,
    /// Where the random numbers start: commands and batches
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where `soak.json`, `soak.png` and the store go; without it a temporary directory that is removed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// With fewer, there is no line to fit.
const LEAST_STEPS: u64 = 100;

/// Samples of a whole run.
const SAMPLES: u64 = 500;

/// The share of the samples from the start that are not looked at: caches, ledgers and the allocator fill up.
const WARM_UP: f64 = 0.25;

/// What may grow, and by how much. Our choices.
#[derive(Clone, Copy, Debug)]
struct Bound {
    what: &'static str,
    /// Bytes in 1,000 steps.
    most: f64,
    /// A rise over all samples that is less than this says nothing.
    least_rise: f64,
}

/// What is allocated and not freed: 1 MiB in a million steps. Checkpoints come and go, and are some 100 KiB.
const HEAP: Bound = Bound { what: "the heap", most: 1024.0, least_rise: 256.0 * 1024.0 };

/// What the process has of the machine: 16 MiB in a million steps. The allocator takes pages in large pieces, and keeps them.
const RESIDENT: Bound = Bound { what: "resident memory", most: 16.0 * 1024.0, least_rise: 4.0 * 1024.0 * 1024.0 };

/// Standard errors by which a slope must lie above what is allowed.
const SIGNIFICANT: f64 = 3.0;

/// What the store may have on disk. Our choice: journal and blobs of this run come to a few megabytes between two compactions.
const MOST_STORED: u64 = 64 << 20;

/// What was seen after a step.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sample {
    step: u64,
    heap_bytes: u64,
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
    /// What is allocated and not freed, after the warm-up.
    heap: Slope,
    heap_allowed: f64,
    /// Resident memory, after the warm-up.
    resident: Slope,
    resident_allowed: f64,
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
    let mut samples = Vec::with_capacity(usize::try_from(args.steps / every).unwrap_or_default());
    for step in 1..=args.steps {
        churn.step().map_err(failed)?;
        if !step.is_multiple_of(every) {
            continue;
        }
        let resident = memory.resident().ok_or_else(|| Failure::Soak("resident memory is not known here".into()))?;
        let heap = live_bytes();
        let sample = Sample { step, heap_bytes: heap, resident_bytes: resident, ..churn.sample().map_err(failed)? };
        samples.push(sample);
        let now = format!(
            "step {step}, {:.0}/s, {:.2} MiB allocated, {:.1} resident, {:.2} stored, {} blobs, {} commands",
            step as f64 / watch.seconds(),
            mib(heap),
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
    let warm = samples.get((samples.len() as f64 * WARM_UP) as usize..).unwrap_or_default();
    let slope = |of: fn(&Sample) -> u64| {
        let points: Vec<_> = warm.iter().map(|sample| (sample.step as f64 / 1e3, of(sample) as f64)).collect();
        Slope::of(&points).ok_or_else(|| Failure::Soak("there are too few samples for a line".into()))
    };
    let (heap, resident) = (slope(|sample| sample.heap_bytes)?, slope(|sample| sample.resident_bytes)?);
    let stored = samples.iter().map(|sample| sample.store_bytes).max().unwrap_or_default();
    let soak = Soak {
        machine: Machine::here(),
        steps: args.steps,
        seed: args.seed,
        seconds: (seconds * 10.0).round() / 10.0,
        steps_per_second: (args.steps as f64 / seconds * 10.0).round() / 10.0,
        counts: churn.counts(),
        heap,
        heap_allowed: HEAP.most,
        resident,
        resident_allowed: RESIDENT.most,
        most_store_bytes: stored,
        store_bytes_allowed: MOST_STORED,
        samples: &samples,
    };
    let json = serde_json::to_string_pretty(&soak)
        .map_err(|source| Failure::Json { what: "the measurements".to_owned(), source })?;
    let path = out.join("soak.json");
    fs::write(&path, json + "\n").map_err(Failure::file("write", &path))?;
    chart::draw(&samples, &heap, &resident, &out.join("soak.png"))?;
    println!(
        "{} steps, {} commands in {seconds:.0} s: heap {heap}, resident memory {resident}; store at most {:.2} MiB",
        args.steps,
        soak.counts.commands,
        mib(stored),
    );
    let problem = HEAP.broken(&heap).or_else(|| RESIDENT.broken(&resident)).or_else(|| too_large(stored));
    let problem = problem.or_else(|| churn.missing());
    problem.map_or(Ok(()), |problem| Err(Failure::Soak(problem)))
}

impl Bound {
    /// What is wrong, if something is.
    fn broken(&self, slope: &Slope) -> Option<String> {
        let Self { what, most, least_rise } = self;
        let grows = slope.is_above(*most, SIGNIFICANT) && slope.rise() > *least_rise;
        grows.then(|| format!("{what} grows by {:.0} bytes in 1,000 steps, at most {most}", slope.per_unit))
    }
}

fn too_large(stored: u64) -> Option<String> {
    (stored > MOST_STORED).then(|| format!("the store had {stored} bytes, at most {MOST_STORED}"))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::{HEAP, MOST_STORED, RESIDENT, Slope, too_large};

    /// Samples of a run of `steps` thousand steps whose memory grows by `growth` bytes in 1,000, with noise of 1 MiB.
    fn slope(steps: u64, growth: f64) -> Slope {
        let noise = |step: u64| if step.is_multiple_of(2) { 0.0 } else { 1e6 };
        let points: Vec<_> = (0..steps).map(|step| (step as f64, 1e8 + growth * step as f64 + noise(step))).collect();
        Slope::of(&points).unwrap()
    }

    #[test]
    fn growth_is_refused_if_it_is_fast_and_certain() {
        assert!(RESIDENT.broken(&slope(1_000, 40_000.0)).is_some());
        assert_eq!(RESIDENT.broken(&slope(1_000, 10_000.0)), None, "slow");
        assert_eq!(RESIDENT.broken(&slope(50, 40_000.0)), None, "2 MB in all");
        assert!(HEAP.broken(&slope(1_000, 10_000.0)).is_some());
    }

    #[test]
    fn store_that_is_too_large_is_refused() {
        assert_eq!(too_large(MOST_STORED), None);
        assert!(too_large(MOST_STORED + 1).is_some());
    }
}
