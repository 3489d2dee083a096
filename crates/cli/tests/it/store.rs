//! `kasmina store`, on real directories.

use std::{fs, path::Path};

use kasmina_leyline::{CommandId, UnixTime};
use kasmina_rollback::{Entry, Journal, Store};

use crate::{failure, kasmina};

/// A store with two batches.
fn store(directory: &Path) {
    let mut store = Store::open(directory).unwrap();
    for name in ["cmd-1", "cmd-2"] {
        let command_id = CommandId::new(name).unwrap();
        store.append(&[Entry::NonceSeen { command_id, issued_at: UnixTime::from_millis(1) }]).unwrap();
    }
}

/// Runs `kasmina store ACTION DIR`: the exit code, standard output and standard error.
fn run(action: &str, directory: &Path) -> (Option<i32>, String, String) {
    let output = kasmina(&["store", action]).arg(directory).output().unwrap();
    let (code, errors) = failure(&output);
    (code, String::from_utf8(output.stdout).unwrap(), errors)
}

#[test]
fn audit_counts_what_a_sound_store_holds() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path());
    let (code, said, errors) = run("audit", directory.path());
    assert!(code == Some(0) && said.starts_with("sound: 2 records"), "{said}{errors}");
    assert_eq!(run("salvage", directory.path()).1, "sound: nothing to salvage\n");
}

#[test]
fn damaged_store_fails_the_audit_until_salvaged() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path());
    let journal = directory.path().join("journal");
    let mut bytes = fs::read(&journal).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&journal, &bytes).unwrap();

    let (code, _, errors) = run("audit", directory.path());
    assert!(code == Some(1) && errors.contains("journal"), "{errors}");
    assert_eq!(fs::read(&journal).unwrap(), bytes, "an audit changes nothing");
    let (code, said, errors) = run("salvage", directory.path());
    assert!(code == Some(0) && said.contains("the next record will be number 2"), "{said}{errors}");
    assert!(run("audit", directory.path()).1.starts_with("sound: 1 records"));
}

#[test]
fn missing_directory_and_store_in_use_are_failures() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, errors) = run("audit", &directory.path().join("nowhere"));
    assert!(code == Some(1) && errors.contains("nowhere"), "{errors}");
    let open = Store::open(directory.path()).unwrap();
    let (code, _, errors) = run("salvage", directory.path());
    assert!(code == Some(1) && errors.contains("lock"), "{errors}");
    drop(open);
}
