//! Kasmina's tools, run as `cargo xtask <command>` from anywhere in the workspace.

mod bench;
mod codegen;
mod crash;
mod demo;
mod digits;
mod failure;
mod fuzz;
mod gpu_check;
mod growth;
mod heap;
mod machine;
mod progress;
mod soak;
mod stopwatch;
mod test;
mod vectors;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kasmina's tools. Each command exits with 0 when all is well, 1 when something failed, 2 when it was called wrongly.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Grow real networks on real images, beside control runs that never had a seed, and draw what happened
    Demo(demo::Args),
    /// One of the processes of `demo --bus`
    #[command(hide = true)]
    DemoPart(demo::PartArgs),
    /// One of the processes of `demo --workers`
    #[command(hide = true)]
    DemoWorker(demo::WorkerArgs),
    /// Measure whether growing a network pays: beside the small network, the same architecture from scratch, and a wider one
    Growth(growth::Args),
    /// Measure whether a small network learns more with a teacher, and what that costs in time and memory
    Distill(growth::distill::Args),
    /// Run all tests, count them, and name what was skipped and why
    Test(test::Args),
    /// Check everything that must hold before a commit; changes no file
    Verify(verify::Args),
    /// Print the table of floors for ARCHITECTURE.md
    Floors,
    /// Kill a process that obeys commands and trains, again and again, and check that nothing it acknowledged is lost
    Crash(crash::Args),
    /// What `crash` kills
    #[command(hide = true)]
    CrashChild(crash::ChildArgs),
    /// Train for a long time while seeds come and go, and see whether memory or the store grows
    Soak(soak::Args),
    /// Measure what has a budget and print it beside that budget
    Bench(bench::Args),
    /// Check that a device computes what the CPU computes: blends, kernels, growth, bit identity
    GpuCheck(gpu_check::Args),
    /// Fuzz the parsers of bytes from outside; needs nightly Rust and cargo-fuzz
    Fuzz(fuzz::Args),
    /// Verify recorded commands of other implementations
    Vectors(vectors::Args),
    /// Generate the Leyline bindings from proto/leyline.proto
    Codegen(codegen::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::DemoPart(args) => demo::part(&args),
        Command::DemoWorker(args) => demo::worker(&args),
        Command::Growth(args) => growth::run(&args),
        Command::Distill(args) => growth::distill::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Floors => verify::architecture::print(),
        Command::Crash(args) => crash::run(&args),
        Command::CrashChild(args) => crash::child(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::GpuCheck(args) => gpu_check::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Vectors(args) => vectors::run(&args),
        Command::Codegen(args) => codegen::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
