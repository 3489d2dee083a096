//! The devices that are compiled in.

use std::fmt;

/// A device to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Device {
    /// The CPU, compared with itself: does the check work?
    Flex,
    #[cfg(feature = "vulkan")]
    Vulkan,
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Default for Device {
    fn default() -> Self {
        #[cfg(feature = "cuda")]
        return Self::Cuda;
        #[cfg(all(feature = "vulkan", not(feature = "cuda")))]
        return Self::Vulkan;
        #[cfg(not(any(feature = "vulkan", feature = "cuda")))]
        Self::Flex
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            #[cfg(feature = "vulkan")]
            Self::Vulkan => "vulkan",
            #[cfg(feature = "cuda")]
            Self::Cuda => "cuda",
        })
    }
}

/// Burn panics if it finds no device. The first thing that is run finds that out.
#[cfg(any(feature = "vulkan", feature = "cuda"))]
pub(crate) fn there(run: impl FnOnce() -> Result<(), crate::failure::Failure>) -> Result<(), crate::failure::Failure> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(Err(crate::failure::Failure::NoDevice))
}
