//! `cargo xtask codegen`: the Leyline bindings. The generator is a package of its own, so that nobody compiles a protobuf
//! parser who does not change the contract.

use std::process::Command;

use crate::{failure::Failure, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when the bindings are not what the contract gives
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    workspace::stream(&mut generator(args.check))
}

/// The command that generates the bindings or, with `check`, only compares them with the contract.
pub(crate) fn generator(check: bool) -> Command {
    let mut command = workspace::cargo(["run", "--quiet", "--package", "xtask-codegen", "--"]);
    if check {
        command.arg("--check");
    }
    command
}
