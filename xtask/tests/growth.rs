//! A whole comparison, short and from one seed, as a user calls it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{path::Path, process::Command};

use serde_json::Value;

fn growth(out: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("growth").args(arguments).arg("--out").arg(out).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("digits.json")).unwrap()).unwrap()
}

#[test]
fn four_contenders_are_compared_and_not_run_twice() {
    let held = tempfile::tempdir().unwrap();
    let short = ["--data", "digits", "--hosts", "mlp", "--seeds", "1", "--epochs", "12"];
    let (success, said) = growth(held.path(), &short);
    assert!(success, "{said}");
    let first = report(held.path());
    let records = first["hosts"][0]["records"].as_array().unwrap();
    let names: Vec<&str> = records.iter().map(|record| record["contender"].as_str().unwrap()).collect();
    assert_eq!(names, ["control", "grown", "scratch_same", "scratch_wide"], "{said}");
    let [control, grown, same, wide] = &records[..] else { panic!("{said}") };
    let number = |record: &Value, of: &str| record[of].as_f64().unwrap();
    assert!(number(grown, "parameters") > number(control, "parameters"), "nothing has grown: {said}");
    assert_eq!(same["parameters"], grown["parameters"]);
    assert!(number(wide, "parameters") >= number(grown, "parameters"));
    assert!(number(grown, "parameter_steps") < number(same, "parameter_steps"));
    assert!(records.iter().all(|record| number(&record["validation"], "loss").is_finite()), "{said}");
    assert!(held.path().join("digits-mlp.png").is_file());

    let (success, said) = growth(held.path(), &short);
    assert!(success && said.matches("is in the report").count() == 4, "{said}");
    assert_eq!(report(held.path()), first);
}

#[test]
fn what_cannot_be_learned_is_said() {
    let held = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], message: &str| {
        let (success, said) = growth(held.path(), arguments);
        assert!(!success && said.contains(message), "{said}");
    };
    refused(&["--data", "addition", "--hosts", "cnn"], "growth: cnn cannot learn addition");
    refused(&["--data", "addition", "--examples", "5"], "5 examples do not fill a batch of 32");
    refused(&["--data", "mnist:/absent"], "/absent has neither train-images-idx3-ubyte");
    refused(&["--data", "cifar"], "is not one of digits, mnist:DIR, addition, text:FILE");
}
