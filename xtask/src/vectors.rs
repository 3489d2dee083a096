//! `cargo xtask vectors FILE`: signed commands of other implementations, and the verdict that each must get.

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina::{
    leyline::{Monotonic, UnixTime},
    security::{CommandVerifier, KeyRing, Secret, Verifier},
};
use serde::Deserialize;

use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A JSON list of objects with name, runtime, secret, now_unix_ms, expect and wire (base64); the recorded ones are
    /// crates/security/tests/data/signed_commands.json
    file: PathBuf,
}

/// One command, with what a verifier must say of it: `ok` or the reason of a rejection.
#[derive(Deserialize)]
struct Vector {
    name: String,
    runtime: String,
    secret: String,
    now_unix_ms: i64,
    expect: String,
    wire: String,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let text = fs::read_to_string(&args.file).map_err(Failure::file("read", &args.file))?;
    let what = || args.file.display().to_string();
    let vectors: Vec<Vector> = serde_json::from_str(&text).map_err(|source| Failure::Json { what: what(), source })?;
    let failed: Vec<_> = vectors.iter().filter_map(|vector| Some((vector, vector.failure()?))).collect();
    for (Vector { name, runtime, expect, .. }, got) in &failed {
        println!("FAILED {name} ({runtime}): expected {expect}, got {got}");
    }
    println!("{} passed, {} failed", vectors.len() - failed.len(), failed.len());
    match failed.len() {
        0 if vectors.is_empty() => Err(Failure::Tests(format!("{}: no vectors", what()))),
        0 => Ok(()),
        count => Err(Failure::Tests(format!("{count} of {} vectors failed", vectors.len()))),
    }
}

impl Vector {
    /// What a verifier says instead of what is expected.
    fn failure(&self) -> Option<String> {
        let got = self.verdict().unwrap_or_else(|cause| cause);
        (got != self.expect).then_some(got)
    }

    fn verdict(&self) -> Result<String, String> {
        let secret = Secret::new(&self.secret).map_err(|error| error.to_string())?;
        let wire = STANDARD.decode(&self.wire).map_err(|error| error.to_string())?;
        let mut verifier = CommandVerifier::new(KeyRing::of("vector", secret));
        let verdict = verifier.verify(&wire, UnixTime::from_millis(self.now_unix_ms), Monotonic::ORIGIN);
        Ok(verdict.map_or_else(|rejection| rejection.reason().to_owned(), |_| "ok".to_owned()))
    }
}
