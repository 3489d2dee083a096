//! The crash test itself, for a few kills.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_process_that_is_killed_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["crash", "--kills", "6", "--seed", "2", "--dir"]).arg(directory.path());
    let output = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    let result: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(result["kills"], 6);
    assert_ne!(result["stages_reached"].as_array().unwrap().len(), 0, "{result}");
    assert_ne!(result["networks_restored"], 0, "{result}");
    for finding in ["lost", "duplicates", "unreadable", "errors"] {
        assert_eq!(result[finding], 0, "{result}");
    }
    // Where somebody named a directory, the store stays.
    assert!(directory.path().join("run-1/store/journal").is_file());
}
