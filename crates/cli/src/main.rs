//! The command line of an operator: signs commands, checks and repairs stores.

#[cfg(feature = "bus")]
mod bus;
mod explain;
mod failure;
#[cfg(feature = "kernels")]
mod kernels;
#[cfg(feature = "bus")]
mod news;
mod order;
mod reasons;
mod secret;
mod send;
#[cfg(feature = "urza")]
mod stop;
mod store;
#[cfg(feature = "urza")]
mod urza;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sign commands for a seed manager, look at its runs, check and repair its store, and explain its reasons
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
    Send(send::Args),
    Store(store::Args),
    Explain(explain::Args),
    Watch(watch::Args),
    #[cfg(feature = "kernels")]
    Kernels(kernels::Args),
    #[cfg(feature = "urza")]
    Urza(urza::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Send(args) => send::run(args),
        Command::Store(args) => store::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Watch(args) => watch::run(args),
        #[cfg(feature = "kernels")]
        Command::Kernels(args) => kernels::run(args),
        #[cfg(feature = "urza")]
        Command::Urza(args) => urza::run(args),
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
    use clap::{Command, CommandFactory};

    use super::Cli;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
        fn check(command: &Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} of {}", argument.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
