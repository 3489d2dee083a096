//! Whether a device computes what the CPU computes: blends, kernels, whole growth runs, the plain path, and how many kernels a blend
//! and a step launch. `cargo xtask gpu-check` builds this with the device's feature and runs it.

mod blends;
mod device;
mod failure;
mod growth;
mod kernels;
mod launches;
mod numbers;
mod plain_path;
mod report;
mod subject;
mod times;

use std::{path::PathBuf, process::ExitCode};

use burn::backend::{Autodiff, Flex};
use clap::Parser;
use device::Device;
use failure::Failure;
use kasmina::GraftBackend;
use report::Report;

/// What the device is compared with.
type Reference = Autodiff<Flex>;

/// Check that a device computes what the CPU computes. Exits with 0 if it does, 1 if not or if there is no such device.
#[derive(Parser)]
struct Args {
    /// The device; it must have been compiled in, by the feature of its name
    #[arg(long, value_enum, default_value_t = Device::default())]
    device: Device,
    /// Random shapes for each kind of operation; 12 have every blend on every rank
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u16).range(1..))]
    cases: u16,
    /// The random seed of shapes and numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only the checks whose name has this in it; several times for several
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Write the results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run something so many times, for whoever counts what is launched
    #[arg(long, hide = true, num_args = 2, value_names = ["WHAT", "TIMES"])]
    launch: Vec<String>,
}

/// What every check gets.
#[derive(Clone, Copy)]
struct Cases {
    count: usize,
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.device {
        Device::Flex => run::<Autodiff<Flex>>(&args),
        #[cfg(feature = "vulkan")]
        Device::Vulkan => {
            device::find::<burn::backend::Vulkan>().and_then(|()| run::<Autodiff<burn::backend::Vulkan>>(&args))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda => {
            device::find::<burn::backend::Cuda>().and_then(|()| run::<Autodiff<burn::backend::Cuda>>(&args))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run<B: GraftBackend>(args: &Args) -> Result<(), Failure> {
    if let [what, times] = &args.launch[..] {
        return launches::launch::<B>(what, times);
    }
    let cases = Cases { count: usize::from(args.cases), seed: args.seed };
    let mut report = Report::new(args.device, cases, &args.filter);
    report.check("blends", || blends::check::<B>(cases));
    report.check("kernels", || kernels::check::<B>(cases));
    report.check("growth: a life on both devices", || growth::agreement::<B>());
    report.check("bits of an MLP beside a seed", || growth::bits_of_an_mlp::<B>());
    report.check("bits of stacks of layers beside a seed", || growth::bits_of_stacks::<B>(cases));
    report.check("bits of a CNN beside a seed", || growth::bits_of_a_cnn::<B>());
    report.check("plain path", || plain_path::check::<B>());
    report.check("time of a blend", || times::check::<B>());
    if B::is_fused() {
        report.check("launches of a blend", || launches::blend(args.device));
        report.check("launches of a step", || launches::step(args.device));
    }
    report.finish(args.json.as_deref())
}
