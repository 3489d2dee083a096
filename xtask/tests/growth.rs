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
    let short = ["--data", "digits", "--hosts", "mlp", "--seeds", "1", "--quick"];
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

    // Other settings must not cost the runs that are there.
    for other in [&["--no-test"][..], &["--epochs", "3"]] {
        let (success, said) = growth(held.path(), &[&short[..], other].concat());
        assert!(!success && said.contains("has runs of mlp with other settings: give another --out"), "{said}");
        assert_eq!(report(held.path()), first);
    }

    let picture = held.path().join("digits-mlp.png");
    std::fs::remove_file(&picture).unwrap();
    let (success, said) = growth(held.path(), &["--data", "digits", "--redraw"]);
    assert!(success && picture.is_file(), "{said}");
}

#[test]
fn runs_on_another_text_are_not_taken_for_this_ones() {
    let held = tempfile::tempdir().unwrap();
    let text = |name: &str, line: &str| {
        let path = held.path().join(name);
        std::fs::write(&path, line.repeat(4_000 / line.len())).unwrap();
        format!("text:{}", path.display())
    };
    let (one, other) = (text("a.txt", "a line of one text\n"), text("b.txt", "quite another line of another\n"));
    let out = held.path().join("out");
    let call = |data: &str| growth(&out, &["--data", data, "--seeds", "1"]);
    let (success, said) = call(&one);
    assert!(success, "{said}");
    let first = std::fs::read(out.join("text.json")).unwrap();
    let (success, said) = call(&other);
    assert!(!success && said.contains("has runs of transformer on other data: give another --out"), "{said}");
    assert_eq!(std::fs::read(out.join("text.json")).unwrap(), first);
}

#[test]
fn runs_that_diverge_are_recorded_and_the_others_go_on() {
    let held = tempfile::tempdir().unwrap();
    let wild = ["--data", "digits", "--hosts", "mlp", "--seeds", "1", "--epochs", "1", "--learning-rate", "1e30"];
    let (success, said) = growth(held.path(), &wild);
    assert!(success && said.matches("diverged after").count() == 4, "{said}");
    let records = report(held.path())["hosts"][0]["records"].clone();
    let diverged = |record: &Value| record["diverged"] == true && record["validation"].is_null();
    assert!(records.as_array().unwrap().iter().filter(|record| diverged(record)).count() == 4, "{records}");
    let (success, said) = growth(held.path(), &wild);
    assert!(success && said.matches("is in the report").count() == 4, "{said}");
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
    refused(
        &["--data", "digits", "--learning-rate", "NaN"],
        "growth: learning_rate is NaN and must be finite and above 0",
    );
    let recipe = held.path().join("recipe.json");
    std::fs::write(&recipe, r#"{"batch": 0}"#).unwrap();
    let recipe = recipe.display().to_string();
    refused(&["--data", "digits", "--recipe", &recipe], "recipe.json: batch is 0 and must be 1 or more");
    refused(&["--data", "digits", "--redraw"], "digits.json has no runs to draw");
    refused(&["--data", "mnist:/absent"], "/absent has neither train-images-idx3-ubyte");
    refused(&["--data", "cifar"], "is not one of digits, mnist:DIR, addition, text:FILE");
}
