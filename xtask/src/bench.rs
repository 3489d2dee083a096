//! `cargo xtask bench`: builds and runs `kasmina-bench`, which measures. It is one file, so that it can be carried to another machine.

use std::{env, ffi::OsString, path::Path};

use crate::{
    failure::Failure,
    workspace::{self, cargo, stream},
};

/// Devices that are features of `kasmina-bench`.
const DEVICES: [&str; 2] = ["cuda", "vulkan"];

/// What the program exits with when it does not understand its arguments. Cargo passes it on.
const CALLED_WRONGLY: i32 = 2;

// `--help` is that of the program.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What the program is told: `--help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let here = env::current_dir().map_err(Failure::file("find", Path::new(".")))?;
    let mut command = cargo(["run", "--locked", "--release", "--package", "kasmina-bench"]);
    command.args(feature(&args.arguments).into_iter().flat_map(|feature| ["--features", feature]));
    command.arg("--manifest-path").arg(workspace::root().join("Cargo.toml")).arg("--").args(&args.arguments);
    // Files that the arguments name are where the caller is.
    match stream(command.current_dir(here)) {
        Err(Failure::Command { status, .. }) if status.code() == Some(CALLED_WRONGLY) => {
            Err(Failure::Arguments { program: "bench" })
        }
        outcome => outcome,
    }
}

/// The feature that the device of these arguments needs.
fn feature(arguments: &[OsString]) -> Option<&'static str> {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let after = texts.windows(2).filter(|pair| pair[0] == "--device").map(|pair| pair[1].as_ref());
    let joined = texts.iter().filter_map(|text| text.strip_prefix("--device="));
    let device = after.chain(joined).last()?;
    DEVICES.into_iter().find(|name| *name == device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_brings_its_feature() {
        let feature = |arguments: &[&str]| feature(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(feature(&["--quick"]), None);
        assert_eq!(feature(&["--device", "flex"]), None);
        assert_eq!(feature(&["--quick", "--device", "cuda", "--list"]), Some("cuda"));
        assert_eq!(feature(&["--device=vulkan"]), Some("vulkan"));
    }
}
