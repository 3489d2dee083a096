//! `kasmina kernels`: a directory of kernels.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Subcommand, ValueEnum};
use kasmina_kernel_load::{
    Artifact, DirectoryLibrary, Fetched, KernelLibrary, KernelLoader, SlotContract,
    blueprints::{Blueprint, BuiltInLibrary, Start},
};
use kasmina_leyline::{Monotonic, v1::BlueprintTier};

use crate::failure::Failure;

/// Write, list or verify a directory of kernels
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add the built-in kernels that fit a slot
    ///
    /// The directory is created if it is not there. Kernels of the same names are replaced; only one process may write at a time.
    Build {
        /// The directory
        dir: PathBuf,
        /// 2 for `[batch, channels]`, 3 with tokens, 4 with height and width
        #[arg(long, value_parser = clap::value_parser!(u8).range(2..=4))]
        rank: u8,
        /// The channels of the slot's input
        #[arg(long)]
        channels: usize,
        /// The channels of its output; as many as of the input by default
        #[arg(long, value_name = "CHANNELS")]
        channels_out: Option<usize>,
        /// What a new kernel returns
        #[arg(long, value_enum, default_value_t = StartArg::Identity)]
        start: StartArg,
        /// Draws the weights
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// List the kernels of the catalogue
    ///
    /// Reads nothing but the catalogue: a line for each kernel with its blueprint, its tier, its file and its checksum.
    List {
        /// The directory
        dir: PathBuf,
    },
    /// Read and verify every kernel, and change nothing
    ///
    /// Prints each kernel that cannot be used and why, and fails if there is one.
    Verify {
        /// The directory
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum StartArg {
    /// Its input, for CONVEX, CHANNEL and CONFIDENCE blends
    Identity,
    /// Zeros, for RESIDUAL blends
    Zero,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Build { dir, rank, channels, channels_out, start, seed } => {
            let slot = SlotContract::f32(usize::from(rank), channels, channels_out.unwrap_or(channels));
            let start = match start {
                StartArg::Identity => Start::Identity,
                StartArg::Zero => Start::Zero,
            };
            build(&dir, slot, start, seed)
        }
        Action::List { dir } => list(&dir),
        Action::Verify { dir } => verify(&dir),
    }
}

fn build(directory: &Path, slot: SlotContract, start: Start, seed: u64) -> Result<(), Failure> {
    let kernels: Vec<_> = Blueprint::fitting(slot, start).collect();
    if kernels.is_empty() {
        return Err(Failure::NothingFits);
    }
    let built_in = BuiltInLibrary::new(seed);
    let mut library = DirectoryLibrary::open_or_create(directory)?;
    for (_, manifest) in kernels {
        let blueprint = &manifest.blueprint_id;
        // This library has everything at once.
        if let Fetched::Here(Artifact { bytes, .. }) = built_in.fetch(blueprint)? {
            let digests = library.publish(&bytes, built_in.descriptor(blueprint)?)?;
            println!("{blueprint}: {} bytes, {}", bytes.len(), digests.checksum);
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<(), Failure> {
    let library = DirectoryLibrary::open(directory)?;
    for blueprint in library.blueprints() {
        let (file, digests) = library.reference(blueprint)?;
        let tier = match library.descriptor(blueprint)?.tier() {
            BlueprintTier::Unspecified => "unspecified",
            BlueprintTier::Safe => "safe",
            BlueprintTier::Experimental => "experimental",
            BlueprintTier::HighRisk => "high-risk",
        };
        println!("{blueprint} {tier} {file} {}", digests.checksum);
    }
    Ok(())
}

fn verify(directory: &Path) -> Result<(), Failure> {
    let library = DirectoryLibrary::open(directory)?;
    let blueprints: Vec<_> = library.blueprints().cloned().collect();
    // Nothing is kept: each kernel is read once.
    let mut loader = KernelLoader::new(library, 0, Duration::ZERO);
    let mut damaged = 0;
    for blueprint in &blueprints {
        if let Err(error) = loader.load(blueprint, Monotonic::ORIGIN) {
            println!("{blueprint}: {}: {error}", error.reason());
            damaged += 1;
        }
    }
    if damaged > 0 {
        return Err(Failure::Kernels { damaged, of: blueprints.len() });
    }
    println!("sound: {} kernels", blueprints.len());
    Ok(())
}
