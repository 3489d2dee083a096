//! The checked-in corpus through the bodies of the fuzz targets, without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use fuzz_properties::TARGETS;

/// More would make a clone slow and the corpus a dump of what a fuzzer happened to find.
const MOST_FILES: usize = 40;
const MOST_BYTES: u64 = 200_000;

fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn run(name: &str) {
    let (_, body) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let files = corpus(name);
    assert!((1..MOST_FILES).contains(&files.len()), "{} files", files.len());
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
    for file in files {
        // Shown where the body panics.
        println!("{}", file.display());
        body(&fs::read(file).unwrap());
    }
    body(&[]);
}

#[test]
fn command() {
    run("command");
}

#[test]
fn annotations() {
    run("annotations");
}

#[test]
fn artifact() {
    run("artifact");
}

#[test]
fn grown() {
    run("grown");
}

#[test]
fn journal() {
    run("journal");
}

#[test]
fn entry() {
    run("entry");
}
