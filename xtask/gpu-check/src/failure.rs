//! Why a check fails.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: differs by {difference:.2e} of the largest number, {tolerance:.0e} are allowed")]
    Differs { what: String, difference: f64, tolerance: f64 },
    #[error("{what}: {got} numbers, expected {expected}")]
    Count { what: String, got: usize, expected: usize },
    /// Something that must hold does not.
    #[error("{0}")]
    Broken(String),
    #[error("{what}: {detail}")]
    Refused { what: &'static str, detail: String },
    #[error("it panicked; the lines above say why")]
    Panicked,
    #[error(
        "there is no such device, or no driver for it. For Vulkan on the CPU: apt-get install mesa-vulkan-drivers libvulkan1"
    )]
    #[cfg_attr(not(any(feature = "vulkan", feature = "cuda")), expect(dead_code, reason = "there is always a CPU"))]
    NoDevice,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0} of {1} checks failed")]
    Checks(usize, usize),
}

/// An error of the product as a failure of the check.
pub(crate) fn refused<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Refused { what, detail: error.to_string() }
}

/// A failure unless it holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Broken(otherwise())) }
}
