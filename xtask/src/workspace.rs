//! Where the workspace is, what cargo knows about it, and how programs are run in it.

mod metadata;

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

pub(crate) use metadata::{DependencyKind, Metadata, Package, SPECIAL_FEATURES};

use crate::failure::Failure;

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that runs this program, started in the workspace's root.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command whose output goes straight to the terminal.
pub(crate) fn stream(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|source| Failure::Start { program: words(command), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Command { command: words(command), status }) }
}

/// Runs a command to its end and keeps what it printed: whether it succeeded, standard output and standard error.
pub(crate) fn capture(command: &mut Command) -> Result<(bool, String, String), Failure> {
    let output = command.output().map_err(|source| Failure::Start { program: words(command), source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// Runs a command and hands over each line as it comes, standard output and standard error in their real order.
pub(crate) fn follow(mut command: Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus, Failure> {
    let program = words(&command);
    let mut run = || {
        let (reader, writer) = io::pipe()?;
        let mut child = command.env("CARGO_TERM_COLOR", "never").stdout(writer.try_clone()?).stderr(writer).spawn()?;
        // Closes this side's ends of the pipe, so that reading ends when the program does.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            on_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
        child.wait()
    };
    run().map_err(|source| Failure::Start { program, source })
}

/// The command as a person would type it, but for its environment.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
