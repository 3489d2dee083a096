//! A slow and obvious model of slots and seeds beside the manager: random commands, batches and mishaps happen to both, and
//! after every step the two must agree and every line of the ledger must hold.
//!
//! ```sh
//! cargo test -p kasmina --test model                                    # 256 cases, the same in every run
//! KASMINA_MODEL_CASES=10000 KASMINA_MODEL_SEED=$(date +%s) \
//!     cargo test --release -p kasmina --test model -- --nocapture       # a night; says what was reached how often
//! ```
//!
//! A failure prints the shortest sequence of steps that fails. What failed once is kept in `tests/model/regressions.txt`, which
//! is tried first: commit it with the fix.
//!
//! | file | what is in it |
//! |---|---|
//! | `command.rs` | what commands ask for and how they are sent |
//! | `steps.rs` | what can happen, and how often |
//! | `prediction.rs` | the model: the answer to every command, and the stage of every seed |
//! | `ledger.rs` | the invariants, with the clause of the contract that each comes from |
//! | `rig.rs` | both side by side |
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "model/command.rs"]
mod command;
mod common;
#[path = "model/ledger.rs"]
mod ledger;
#[path = "model/prediction.rs"]
mod prediction;
#[path = "model/rig.rs"]
mod rig;
#[path = "model/steps.rs"]
mod steps;

use std::{cell::RefCell, env};

use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner,
};
use rig::{Coverage, Rig};
use steps::{Case, cases};

const MOST_STEPS: usize = 60;
const CASES: u64 = 256;

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().expect("a whole number"))
}

/// All steps of a case; the error says at which the manager did what it must not.
fn run(case: &Case, coverage: &RefCell<Coverage>) -> Result<(), String> {
    let mut rig = Rig::new(case);
    for (number, step) in case.steps.iter().enumerate() {
        rig.step(step).map_err(|why| format!("at step {}, {step:?}: {why}", number + 1))?;
    }
    for (what, times) in rig.coverage {
        *coverage.borrow_mut().entry(what).or_default() += times;
    }
    Ok(())
}

#[test]
fn the_manager_does_what_its_model_says() {
    let mut runner = TestRunner::new(Config {
        cases: number("KASMINA_MODEL_CASES", CASES).try_into().unwrap(),
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(number("KASMINA_MODEL_SEED", 0)),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model/regressions.txt"))),
        source_file: Some(file!()),
        max_shrink_iters: 2_000,
        ..Config::default()
    });
    let coverage = RefCell::new(Coverage::new());
    let outcome = runner.run(&cases(MOST_STEPS), |case| run(&case, &coverage).map_err(TestCaseError::fail));
    let coverage = coverage.into_inner();
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nthe shortest case that fails:\n{case:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    coverage.iter().for_each(|(what, times)| println!("{times:>8} {what}"));
    for must in [
        "to SEED_STAGE_FOSSILIZED",
        "to SEED_STAGE_EMBARGOED",
        "to SEED_STAGE_DORMANT",
        "violation",
        "Germinate breaker_open",
        "Germinate slot_taken",
        "Germinate library_file_missing",
        "Pause accepted",
        "FineTune accepted",
    ] {
        assert!(coverage.get(must).is_some_and(|times| *times > 0), "{must} never happened: {coverage:#?}");
    }
}
