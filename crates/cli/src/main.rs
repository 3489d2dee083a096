//! The command line of an operator: signs commands, checks and repairs stores.

mod explain;
mod failure;
mod order;
mod reasons;
mod send;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Signs commands for a seed manager, and checks and repairs its store.
#[derive(Parser)]
#[command(name = "kasmina", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes:\n  0  done\n  1  failed: the last line of standard error says why\n  2  wrong arguments";

#[derive(Subcommand)]
enum Command {
    /// Write one signed command
    Send(send::Args),
    /// Check or repair the store of a manager that is not running
    Store(store::Args),
    /// Say what a machine-readable reason means and what to do about it
    Explain(explain::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Send(args) => send::run(args),
        Command::Store(args) => store::run(args),
        Command::Explain(args) => explain::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
