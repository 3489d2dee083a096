//! `cargo xtask codegen`: the Leyline bindings. The generator is a package of its own, so that nobody compiles a protobuf
//! parser who does not change the contract.

use crate::{failure::Failure, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when the bindings are not what the contract gives
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut command = workspace::cargo(["run", "--quiet", "--package", "xtask-codegen", "--"]);
    if args.check {
        command.arg("--check");
    }
    workspace::stream(&mut command)
}
