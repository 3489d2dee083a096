//! The binary, run as an operator runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[cfg(feature = "bus")]
mod bus;
#[cfg(feature = "kernels")]
mod kernels;
mod reasons;
mod send;
mod source;
mod store;
#[cfg(feature = "urza")]
mod urza;
mod watch;

use std::process::{Command, Output};

/// The binary without any secret in its environment.
fn kasmina(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasmina"));
    command.args(arguments).env_remove("ESPER_LEYLINE_SECRET").env_remove("ESPER_LEYLINE_SECRET_FILE");
    command
}

/// The exit code and what standard error says.
fn failure(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn help_names_commands_and_exit_codes() {
    let output = kasmina(&["--help"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for word in ["send", "store", "explain", "watch", "Exit codes:", "wrong arguments"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let output = kasmina(&["sned"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
