//! Random commands, batches and mishaps happen to a manager, and after every step every line of the ledger must hold. What each
//! command is answered is the matter of the engine's model; here it is what can be seen from outside that counts.
//!
//! ```sh
//! cargo test -p kasmina --test it model::                               # 256 cases, the same in every run
//! KASMINA_MODEL_CASES=10000 KASMINA_MODEL_SEED=$(date +%s) \
//!     cargo test --release -p kasmina --test it model:: -- --nocapture  # a night; says what was reached how often
//! ```
//!
//! A failure prints the shortest sequence of steps that fails. What failed once is kept in `tests/it/model/regressions.txt`,
//! which is tried first: commit it with the fix.
//!
//! | file | what is in it |
//! |---|---|
//! | `command.rs` | what commands ask for and how they are sent |
//! | `steps.rs` | what can happen, and how often |
//! | `ledger.rs` | the invariants, with the clause of the contract that each comes from |
//! | `journal.rs` | those of them that are about the journal |
//! | `rig.rs` | the manager, and one step of its history |
//! | `sending.rs` | commands on their way |
//! | `looking.rs` | what can be seen |
//! | `mishaps.rs` | what happens that is no command: tampering, crashes, full disks, going back |

mod command;
mod journal;
mod ledger;
mod looking;
mod mishaps;
mod rig;
mod sending;
mod steps;

use std::{cell::RefCell, env};

use command::{Extra, Flag, How, Kernel, What, Who};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner,
};
use rig::{Coverage, Rig};
use steps::{Aim, Case, Gates, Share, Step, Then, cases};

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
fn ledger_holds_after_every_step() {
    let mut runner = TestRunner::new(Config {
        cases: number("KASMINA_MODEL_CASES", CASES).try_into().unwrap(),
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(number("KASMINA_MODEL_SEED", 0)),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/it/model/regressions.txt"))),
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
        "crash",
        "a command after a crash",
        "a replay rejected after a crash",
        "not_durable",
        "roll_back done",
        "roll_back disk_full",
        "Rollback of a seed accepted",
    ] {
        assert!(coverage.get(must).is_some_and(|times| *times > 0), "{must} never happened: {coverage:#?}");
    }
}

/// What chance alone leads to too seldom.
fn told(steps: Vec<Step>) {
    let case = Case { gates: Gates::Lenient, fast_path: true, flush: true, every: 1, steps };
    run(&case, &RefCell::default()).unwrap();
}

fn send(who: Who, what: What) -> Step {
    Step::Send(who, what, How::Honest)
}

/// A move that time made and that could not be made durable is undone by a rollback: the journal does not tell it behind that.
#[test]
fn what_is_undone_is_not_journaled_behind_the_rollback() {
    told(vec![
        send(Who::S2, What::Germinate(Kernel::Late, Extra::Plain)),
        send(Who::S2, What::Cull),
        Step::Checkpoint,
        Step::Rollback(Who::All, Aim::Kept(0), Then::Later),
        Step::Wait(31),
        Step::FailStore,
        send(Who::S1, What::Pause(Flag::Absent)),
        Step::GoBack,
        send(Who::S1, What::Germinate(Kernel::Thin, Extra::Plain)),
        Step::Crash,
        Step::Train(2, true),
    ]);
}

/// From memory, and from the store.
#[test]
fn violations_go_back_with_everything_else() {
    for reopened in [Step::Wait(1), Step::Crash] {
        told(vec![
            Step::Next(Who::S1),
            Step::Train(2, true),
            Step::Checkpoint,
            Step::Tamper(Who::S1, Share::ByTensor),
            Step::Train(1, true),
            reopened,
            Step::Rollback(Who::All, Aim::Kept(0), Then::AtOnce),
            Step::Next(Who::S1),
            Step::Train(2, true),
        ]);
    }
}
