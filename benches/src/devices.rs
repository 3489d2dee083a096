//! The devices that tensors can live on.

use burn::backend::{Autodiff, Flex};
use kasmina::leyline::UnixTime;
use kasmina_measure::Machine;

use crate::{
    areas,
    case::Case,
    cli::{Device, Switch, TableArgs},
    failure::Failure,
    setting::Setting,
};

/// All cases on the device that the options name.
pub(crate) fn cases(args: &TableArgs) -> Result<Vec<Case>, Failure> {
    match args.device {
        Device::Flex => Ok(areas::all(&setting::<Autodiff<Flex>>(args))),
        #[cfg(feature = "vulkan")]
        Device::Vulkan => Ok(areas::all(&setting::<Autodiff<burn::backend::Vulkan>>(args))),
        #[cfg(feature = "cuda")]
        Device::Cuda => Ok(areas::all(&setting::<Autodiff<burn::backend::Cuda>>(args))),
        #[allow(unreachable_patterns, reason = "with all features, every device is there")]
        absent => Err(Failure::Options(format!(
            "this program was built without {absent:?}: `cargo xtask bench --device {}` builds it with the feature",
            name(absent)
        ))),
    }
}

fn setting<B: kasmina::GraftBackend>(args: &TableArgs) -> Setting<B> {
    Setting {
        device: B::Device::default(),
        quick: args.quick,
        isolation: args.isolation == Switch::On,
        telemetry: true,
        blend: args.blend.blend(),
    }
}

/// As `--device` names it.
pub(crate) fn name(device: Device) -> &'static str {
    match device {
        Device::Flex => "flex",
        Device::Vulkan => "vulkan",
        Device::Cuda => "cuda",
    }
}

/// This machine with this device.
pub(crate) fn machine(device: Device, now: UnixTime) -> Machine {
    let features = [("vulkan", cfg!(feature = "vulkan")), ("cuda", cfg!(feature = "cuda"))];
    let features = features.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect();
    // The counter of allocations is a wrapper of the system's allocator that looks at one number of the thread.
    Machine::here(name(device), "the system's, wrapped by allocation-counter", features, now)
}
