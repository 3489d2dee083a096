//! The facts without which numbers mean nothing.

use std::fs;

use kasmina_leyline::UnixTime;
use serde::{Deserialize, Serialize};

/// Where a run was made, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name, as it gives it itself.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Threads of the pools that compute: `RAYON_NUM_THREADS`, or as many as there are processors.
    pub threads: usize,
    /// The operating system and its release.
    pub os: String,
    /// The processor's architecture.
    pub arch: String,
    /// Where memory comes from.
    pub allocator: String,
    /// The compiler of this program.
    pub rustc: String,
    /// The program's features that were on.
    pub features: Vec<String>,
    /// What tensors live on.
    pub device: String,
    /// When the run began, in UTC.
    pub date: String,
}

impl Machine {
    /// This machine, now.
    #[must_use]
    pub fn here(device: &str, allocator: &str, features: Vec<String>, now: UnixTime) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: cpu(),
            cores,
            threads: asked.filter(|threads| *threads > 0).unwrap_or(cores),
            os: format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            allocator: allocator.to_owned(),
            rustc: env!("KASMINA_MEASURE_RUSTC").to_owned(),
            features,
            device: device.to_owned(),
            date: prost_types::Timestamp::from(now).to_string(),
        }
    }

    /// For readers, in lines.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { cpu, cores, threads, os, arch, allocator, rustc, device, date, .. } = self;
        let features = if self.features.is_empty() { "none".to_owned() } else { self.features.join(", ") };
        format!(
            "{cpu}, {cores} cores, {threads} threads, {os}, {arch}\n\
             device {device}, allocator {allocator}, features {features}, {rustc}, {date}"
        )
    }
}

/// What Linux says; elsewhere the architecture has to do.
fn cpu() -> String {
    let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = facts.lines().filter_map(|line| line.split_once(':'));
    let model = names.filter(|(name, _)| name.trim() == "model name").map(|(_, model)| model.trim().to_owned()).next();
    model.filter(|model| !model.is_empty()).unwrap_or_else(|| format!("a processor of {}", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_names_what_numbers_depend_on() {
        let machine = Machine::here("flex", "system", vec!["cuda".into()], UnixTime::from_millis(1_790_000_000_000));
        assert!(machine.cores > 0 && machine.threads > 0 && machine.rustc.starts_with("rustc 1."), "{machine:?}");
        assert!(machine.date.starts_with("2026-09-21T"), "{}", machine.date);
        let text = machine.text();
        assert!(text.contains("device flex, allocator system, features cuda, rustc 1."), "{text}");
    }
}
