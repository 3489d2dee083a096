//! The devices that are compiled in.

use std::fmt;

/// A device to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Device {
    /// The CPU, compared with itself: does the check work?
    #[cfg_attr(not(any(feature = "vulkan", feature = "cuda")), default)]
    Flex,
    #[cfg(feature = "vulkan")]
    #[cfg_attr(not(feature = "cuda"), default)]
    Vulkan,
    #[cfg(feature = "cuda")]
    #[default]
    Cuda,
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

/// Burn panics if it finds no device.
#[cfg(any(feature = "vulkan", feature = "cuda"))]
pub(crate) fn find<B: burn::tensor::backend::Backend>() -> Result<(), crate::failure::Failure> {
    let first = || burn::tensor::Tensor::<B, 1>::zeros([1], &Default::default()).into_data();
    std::panic::catch_unwind(first).map(drop).map_err(|_| crate::failure::Failure::NoDevice)
}
