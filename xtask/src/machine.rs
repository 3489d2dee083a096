//! Where something was measured.

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    os: &'static str,
    arch: &'static str,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cpus, os: std::env::consts::OS, arch: std::env::consts::ARCH }
    }
}
