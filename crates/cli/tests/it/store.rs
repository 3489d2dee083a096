//! `kasmina store`, on real directories.

use std::{fs, path::Path, time::Duration};

use kasmina_leyline::{CommandId, Monotonic, UnixTime, v1::AdaptationCommand};
use kasmina_rollback::{Blobs, Digest, Entry, Journal, Store, doubles::conformance::records};
use kasmina_safety::{Clock, SystemClock};
use kasmina_security::{CommandVerifier, KeyRing, NonceLedger, Secret, Signer, Verifier};

use crate::{failure, kasmina};

/// A store of two batches, five records and two blobs, and the names of the blobs: one is of the state, one of nothing.
fn store(directory: &Path) -> Vec<Digest> {
    let mut store = Store::open(directory).unwrap();
    let blobs = store.blobs.put_all(&[b"weights", b"nothing's"]).unwrap();
    let (seen, accepted) = command("cmd-1");
    let snapshot = Entry::Snapshot { bytes: vec![1], blobs: vec![blobs[0]] };
    let epoch = Entry::Epoch { epoch: 7, step: 70, bytes: vec![2], blobs: vec![] };
    store.journal.append(&[seen, accepted, snapshot]).unwrap();
    store.journal.append(&[epoch, command("cmd-2").0]).unwrap();
    blobs
}

fn command(name: &str) -> (Entry, Entry) {
    let command_id = CommandId::new(name).unwrap();
    let seen = Entry::NonceSeen { command_id: command_id.clone(), issued_at: UnixTime::from_millis(1) };
    (seen, Entry::Accepted { command_id, wire: vec![10] })
}

/// Runs `kasmina store ACTION DIR ..`: the exit code, standard output and standard error.
fn run(action: &str, directory: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = kasmina(&["store", action]).arg(directory).args(more).output().unwrap();
    let (code, errors) = failure(&output);
    (code, String::from_utf8(output.stdout).unwrap(), errors)
}

fn blob(directory: &Path, digest: &Digest) -> std::path::PathBuf {
    directory.join(format!("{digest}.blob"))
}

#[test]
fn audit_shows_what_a_sound_store_holds() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path());
    let (code, said, errors) = run("audit", directory.path(), &[]);
    assert_eq!(code, Some(0), "{errors}");
    let expected = "sound: 5 records, 1 blobs of 7 bytes\nrecovery starts from the snapshot in record 3\n\
                    a rollback can go to the epochs 7\n1 more blobs are of an earlier state, or of none\n";
    assert_eq!(said, expected);
    assert_eq!(run("salvage", directory.path(), &[]).1, "sound: nothing to salvage\n");
}

#[test]
fn damaged_journal_fails_the_audit_until_salvaged() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path());
    let journal = directory.path().join("journal");
    let mut bytes = fs::read(&journal).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&journal, &bytes).unwrap();

    let (code, _, errors) = run("audit", directory.path(), &[]);
    assert!(code == Some(1) && errors.contains("journal"), "{errors}");
    assert_eq!(fs::read(&journal).unwrap(), bytes, "an audit changes nothing");
    let (code, said, errors) = run("salvage", directory.path(), &[]);
    assert!(code == Some(0) && said.contains("the next record will be number 4"), "{said}{errors}");
    assert!(run("audit", directory.path(), &[]).1.starts_with("sound: 3 records"));
}

#[test]
fn damaged_or_missing_weights_fail_the_audit() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = store(directory.path());
    let needed = blob(directory.path(), &blobs[0]);
    fs::write(&needed, b"weightz").unwrap();
    let (code, _, errors) = run("audit", directory.path(), &[]);
    assert!(code == Some(1) && errors.contains(&blobs[0].to_string()), "{errors}");
    fs::remove_file(&needed).unwrap();
    assert_eq!(run("audit", directory.path(), &[]).0, Some(1));
    fs::write(&needed, b"weights").unwrap();
    fs::remove_file(blob(directory.path(), &blobs[1])).unwrap();
    assert_eq!(run("audit", directory.path(), &[]).0, Some(0), "no state needs the other one");
}

#[test]
fn reset_watermark_is_journaled_with_its_time() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path());
    let (code, said, errors) = run("reset-watermark", directory.path(), &["--to", "1790000000"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "record 6: commands issued before 1790000000 s are rejected\n"),
        "{errors}"
    );
    assert_eq!(run("reset-watermark", directory.path(), &[]).0, Some(0));

    let mut store = Store::open(directory.path()).unwrap();
    let mut resets = Vec::new();
    for record in records(&mut store.journal, 6) {
        let Entry::WatermarkReset { at } = record.entry else { panic!("{record:?}") };
        resets.push(at);
    }
    assert_eq!(resets[0], UnixTime::from_millis(1_790_000_000_000));
    let year = std::time::Duration::from_secs(365 * 24 * 3_600);
    assert!(
        resets.len() == 2 && resets[1] > UnixTime::from_millis(0).after(50 * year),
        "now, by the clock: {resets:?}"
    );
}

/// Everything that a manager does with a store that concerns replays: it journals nonces, and restores a verifier from them.
mod replays {
    use super::*;

    pub(super) fn journal(store: &mut Store, id: &str, issued_at: UnixTime) {
        let command_id = CommandId::new(id).unwrap();
        store.journal.append(&[Entry::NonceSeen { command_id, issued_at }]).unwrap();
    }

    pub(super) fn restored(directory: &Path, now: Monotonic) -> CommandVerifier {
        let mut store = Store::open(directory).unwrap();
        let (mut seen, mut watermark) = (Vec::new(), None);
        for record in records(&mut store.journal, 1) {
            if let Entry::NonceSeen { command_id, issued_at } = record.entry {
                seen.push((command_id, issued_at));
            } else if let Entry::WatermarkReset { at } = record.entry {
                watermark = Some(at);
                seen.iter_mut().for_each(|(_, issued_at)| *issued_at = at.min(*issued_at));
            }
        }
        let mut verifier = CommandVerifier::new(KeyRing::of("k1", secret()));
        verifier.restore(seen, watermark, now);
        verifier
    }

    pub(super) fn secret() -> Secret {
        Secret::new("a shared secret").unwrap()
    }

    pub(super) fn signed(id: &str, issued_at: UnixTime) -> Vec<u8> {
        let command =
            AdaptationCommand { command_id: id.into(), issued_at: Some(issued_at.into()), ..Default::default() };
        Signer::new(&secret()).sign(&command).unwrap()
    }
}

/// A sender's clock and the manager's were a day ahead when a command was accepted; then both were set right.
#[test]
fn command_of_the_rejection_lets_senders_in_again() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemClock::new().unix();
    let (hour, forgotten) = (Duration::from_secs(3_600), Monotonic::ORIGIN.after(2 * NonceLedger::TTL));
    replays::journal(&mut Store::open(directory.path()).unwrap(), "early", now.after(24 * hour));

    // While the nonce is remembered, all is well. When it is forgotten, the watermark is a day ahead.
    let submit = |id: &str, issued_at: UnixTime| {
        let mut verifier = replays::restored(directory.path(), Monotonic::ORIGIN);
        verifier.verify(&replays::signed(id, issued_at), issued_at, forgotten).map(|_| ())
    };
    let rejection = submit("honest", now.after(hour)).unwrap_err();
    assert_eq!(rejection.reason(), "stale_command");
    let message = rejection.to_string();
    assert!(message.contains("82800s in the future"), "{message}");

    // The operator runs what the message says.
    let line = message.split('`').nth(1).unwrap();
    let path = directory.path().to_str().unwrap();
    let arguments: Vec<_> = line.split(' ').skip(1).map(|word| if word == "DIR" { path } else { word }).collect();
    let output = kasmina(&arguments).output().unwrap();
    assert!(output.status.success(), "{line}: {}", failure(&output).1);

    assert_eq!(submit("honest", now.after(hour)), Ok(()));
    let replayed = submit("early", now.after(24 * hour)).map_err(|rejection| rejection.reason());
    assert_eq!(replayed, Ok(()), "the price of a reset: rotate the secret");
}

#[test]
fn missing_directory_and_store_in_use_are_failures() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("nowhere");
    for action in ["audit", "reset-watermark"] {
        let (code, _, errors) = run(action, &missing, &[]);
        assert!(code == Some(1) && errors.contains("nowhere"), "{errors}");
        assert!(!missing.exists(), "{action} makes no store");
    }
    let open = Store::open(directory.path()).unwrap();
    for action in ["salvage", "reset-watermark"] {
        let (code, _, errors) = run(action, directory.path(), &[]);
        assert!(code == Some(1) && errors.contains("lock"), "{errors}");
    }
    drop(open);
}
