//! `cargo xtask gpu-check`: builds the check of a device and runs it there.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    failure::Failure,
    workspace::{self, cargo, stream},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The device. Vulkan runs on the CPU too, with Debian's `mesa-vulkan-drivers`
    #[arg(long, value_enum, default_value_t)]
    device: Device,
    /// Build the program and say where it is, to run it on another machine
    #[arg(long)]
    build: bool,
    /// Options of the check: --cases N, --seed N, --filter TEXT, --json FILE; --help lists them
    #[arg(last = true)]
    check: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Device {
    #[default]
    Vulkan,
    Cuda,
    /// The CPU beside itself
    Flex,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // Burn is compiled once more, with other features, so it gets a directory of its own.
    let directory: PathBuf = workspace::metadata()?.target_directory.join("gpu-check").into();
    let mut command = cargo([if args.build { "build" } else { "run" }, "--profile", "gpu-check"]);
    command.args(["--package", "xtask-gpu-check", "--target-dir"]).arg(&directory);
    match args.device {
        Device::Vulkan => command.args(["--features", "vulkan"]),
        Device::Cuda => command.args(["--features", "cuda"]),
        Device::Flex => &mut command,
    };
    // Files that the arguments name are where the caller is.
    let here = env::current_dir().map_err(Failure::file("find", Path::new(".")))?;
    command.arg("--manifest-path").arg(workspace::root().join("Cargo.toml")).current_dir(here);
    if args.build {
        stream(&mut command)?;
        println!("{}", directory.join("gpu-check").join("xtask-gpu-check").display());
        return Ok(());
    }
    stream(command.arg("--").args(&args.check))
}
