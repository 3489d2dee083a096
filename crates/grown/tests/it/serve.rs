//! Another process answers as the trainer does.

use std::io::Write;
use std::process::{Command, Stdio};

use burn::module::AutodiffModule;

#[path = "../../examples/serve/answer.rs"]
mod answer;
#[path = "../../examples/serve/model.rs"]
mod model;

/// In a child of the test below, this variable has the path of the file.
const SERVE: &str = "KASMINA_TEST_SERVE";

#[test]
fn another_process_gives_the_same_answers() {
    if let Some(path) = std::env::var_os(SERVE) {
        answer::serve(path.as_ref(), std::io::stdin().lock(), &mut std::io::stdout().lock()).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    let network = model::train().unwrap();
    network.save(&path).unwrap();
    let questions = "0.5 -1 0.25\n1e-3 2 -0.125\n\n0 0 0\n";
    let mut expected = Vec::new();
    answer::answer(&network.valid(), questions.as_bytes(), &mut expected).unwrap();

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serve::another_process_gives_the_same_answers", "--nocapture", "--quiet"])
        .env(SERVE, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let (got, expected) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(expected).unwrap());
    assert_eq!(expected.lines().count(), 3);
    assert!(expected.lines().all(|line| line.split(' ').count() == 2), "{expected}");
    assert!(got.contains(&expected), "expected {expected:?}, got {got:?}");
}

#[test]
fn question_that_is_not_numbers_is_an_error() {
    let network = model::train().unwrap().valid();
    let error =
        |questions: &str| answer::answer(&network, questions.as_bytes(), &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error("1 2 3\n1 2\n"), "line 2: expected 3 numbers, got 2");
    assert_eq!(error("1 two 3\n"), "line 1: \"two\" is not a number");
}
