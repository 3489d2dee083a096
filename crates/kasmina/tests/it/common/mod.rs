//! What the tests need beside the doubles.

use std::{env, process::Command};

use kasmina::{CommandError, Receipt};

pub use kasmina::doubles::{
    B, Cnn, Host, Mlp, Noisy, RATE, World, batch, blueprint, bytes, control_step, determined, lenient, loss, optimizer,
    seed, sender, spoilt, twin,
};

const ALONE: &str = "KASMINA_TEST_ALONE";

/// Whether this process runs only this test. If not, runs it in a process of its own and fails if it fails there.
///
/// Flex has one random generator for the whole process, and every manager seeds it in every step. A test that compares random
/// numbers would see the numbers of the tests that run beside it. A lock would not do: all other tests would have to take it.
pub fn alone(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap()).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
    false
}

/// The reason of a command that had no effect.
pub fn refused(outcome: Result<Receipt, CommandError>) -> &'static str {
    outcome.unwrap_err().reason()
}
