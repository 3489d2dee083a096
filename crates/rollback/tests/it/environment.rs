//! What the system refuses, and directories that are no stores.
use std::{fs, path::Path, process::Command};

use kasmina_leyline::UnixTime;
use kasmina_rollback::{Blobs, Digest, Entry, Journal, Store, StoreError, doubles::conformance::records};

const DIRECTORY: &str = "KASMINA_ROLLBACK_ENVIRONMENT_DIRECTORY";

#[test]
fn second_owner_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(reason(Store::open(directory.path())), Err("locked"));
    assert_eq!(reason(Store::salvage(directory.path())), Err("locked"));
    let Store { journal, blobs, .. } = store;
    drop(journal);
    assert_eq!(reason(Store::open(directory.path())), Err("locked"), "the other half is still open");
    drop(blobs);
    assert!(Store::open(directory.path()).is_ok());
}

#[test]
fn directory_that_is_not_a_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    assert_eq!(reason(Store::open(&file)), Err("not_a_store"));
    assert_eq!(reason(Store::open(directory.path())), Err("not_a_store"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was added");
    fs::remove_file(&file).unwrap();
    for text in ["", "x", "{}", "a text that is much longer than the header of a journal would be"] {
        fs::write(directory.path().join("journal"), text).unwrap();
        let expected = if text.is_empty() { "truncated" } else { "not_a_store" };
        assert_eq!(reason(Store::open(directory.path())), Err(expected), "{text}");
    }
    fs::remove_file(directory.path().join("journal")).unwrap();
    fs::create_dir(directory.path().join("journal")).unwrap();
    assert_eq!(reason(Store::open(directory.path())), Err("io"));
}

#[test]
fn missing_journal_is_not_replaced_by_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().blobs.put_all(&[b"weights"]).unwrap();
    fs::remove_file(directory.path().join("journal")).unwrap();
    assert_eq!(reason(Store::open(directory.path())), Err("journal_missing"));
    assert!(!directory.path().join("journal").exists());
}

#[test]
fn store_of_another_version_is_refused_by_number() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let path = directory.path().join("journal");
    let set = |version: u8| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = version;
        let check = *Digest::of(&bytes[..24]).as_bytes();
        bytes[24..32].copy_from_slice(&check[..8]);
        fs::write(&path, &bytes).unwrap();
        Store::open(directory.path()).unwrap_err()
    };
    let newer = set(3);
    assert!(matches!(newer, StoreError::NewerVersion { newest: 2, got: 3, .. }), "{newer}");
    let older = set(1);
    assert!(matches!(older, StoreError::OlderVersion { expected: 2, got: 1, .. }), "{older}");
    assert!(older.to_string().contains("start in an empty directory"), "{older}");
    fs::create_dir(directory.path().join("checkpoints")).unwrap();
    assert_eq!(reason(Store::open(directory.path())), Err("older_version"));
    assert_eq!(reason(Store::audit(directory.path())), Err("older_version"));
}

#[test]
#[cfg(unix)]
fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/store");
    let mut store = Store::open(&path).unwrap();
    store.journal.append(&[entry(1), entry(2)]).unwrap();
    store.journal.compact(2).unwrap();
    store.blobs.put_all(&[b"weights"]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = fs::read_dir(&path).unwrap().map(|file| mode(&file.unwrap().path())).collect();
    assert_eq!(files, [0o600; 3]);
}

#[test]
fn reset_of_the_watermark_is_journaled() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().journal.append(&[entry(1)]).unwrap();
    let at = UnixTime::from_millis(7);
    assert_eq!(Store::reset_watermark(directory.path(), at), Ok(2));
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(records(&mut store.journal, 2)[0].entry, Entry::WatermarkReset { at });
    let missing = directory.path().join("missing");
    assert_eq!(reason(Store::reset_watermark(&missing, at)), Err("not_a_store"));
    assert!(!missing.exists(), "a mistyped name makes no store");
}

#[test]
fn leftovers_of_interrupted_writes_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let staged = directory.path().join(format!("{}.blob.new", Digest::of(b"weights")));
    fs::write(&staged, "half").unwrap();
    fs::write(directory.path().join("journal.new"), "half").unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    assert!(!staged.exists());
    assert!(!directory.path().join("journal.new").exists());
    store.journal.append(&[entry(1), entry(2)]).unwrap();
    store.journal.compact(2).unwrap();
    assert_eq!(records(&mut store.journal, 0).len(), 1);
}

/// The limit on the size of a file, set by the shell before the child starts, is as hard as a full disk.
#[test]
#[cfg(unix)]
fn full_disk_refuses_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let executable = std::env::current_exe().unwrap();
    // SIGXFSZ would kill the child; ignored, the write fails instead. 32 blocks of 512 bytes: 16 KiB.
    let output = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 32 && exec \"$0\" --exact environment::full_disk_child --nocapture"])
        .arg(executable)
        .env(DIRECTORY, directory.path())
        .output();
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("full_disk_child: done") => {}
        Ok(output) => panic!("{output:?}"),
        Err(error) => return skipped("full_disk_refuses_and_loses_nothing", &error.to_string()),
    }
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.recovery.torn_tail, None);
    let records = records(&mut store.journal, 0);
    assert!(records.len() > 10);
    assert!(records.iter().all(|record| record.entry == entry(record.sequence)));
    assert_eq!(store.blobs.get(&Digest::of(&[3; 100])), Ok(vec![3; 100]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "the lock, the journal and one blob");
}

/// Not a test: what runs under the limit.
#[test]
fn full_disk_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let mut store = Store::open(&directory).unwrap();
    store.blobs.put_all(&[&[3; 100]]).unwrap();
    assert_eq!(reason(store.blobs.put_all(&[&[3; 100_000]])), Err("disk_full"));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3, "nothing is left behind");
    let mut next = 1;
    while let Ok(range) = store.journal.append(&[entry(next), entry(next + 1), entry(next + 2)]) {
        next = range.end;
    }
    assert_eq!(
        reason(store.journal.append(&[entry(next), entry(next + 1), entry(next + 2)])),
        Err("disk_full"),
        "still full"
    );
    assert_eq!(records(&mut store.journal, 0).len() as u64, next - 1, "what was acknowledged is there");
    store.journal.compact(next - 2).unwrap();
    let range = store.journal.append(&[entry(next), entry(next + 1), entry(next + 2)]).unwrap();
    assert_eq!(range.start, next, "there is space again");
    store.journal.append(&(range.end..range.end + 8).map(entry).collect::<Vec<_>>()).unwrap();
    println!("full_disk_child: done");
}

/// Root may write anywhere: the child runs as somebody else then.
#[test]
#[cfg(unix)]
fn read_only_directory_is_named() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    const TEST: &str = "read_only_directory_is_named";
    let directory = tempfile::tempdir().unwrap();
    let (fresh, used) = (directory.path().join("fresh"), directory.path().join("used"));
    fs::create_dir(&fresh).unwrap();
    Store::open(&used).unwrap().journal.append(&[entry(1)]).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let protected = [&fresh, &used];
    fs::read_dir(&used).unwrap().for_each(|file| mode(&file.unwrap().path(), 0o444));
    protected.iter().for_each(|path| mode(path, 0o555));
    mode(directory.path(), 0o755);

    let root = fs::write(fresh.join("probe"), "x").is_ok();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "environment::read_only_child", "--nocapture"]).env(DIRECTORY, directory.path());
    if root {
        fs::remove_file(fresh.join("probe")).unwrap();
        command.uid(65_534).gid(65_534);
    }
    let output = command.output();
    protected.iter().for_each(|path| mode(path, 0o755));
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("read_only_child: done") => {}
        Ok(output) => panic!("{output:?}"),
        Err(error) if root => skipped(TEST, &format!("runs as root, and cannot become another user: {error}")),
        Err(error) => panic!("{error}"),
    }
}

/// Not a test: what a user without the right to write sees.
#[test]
fn read_only_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    for name in ["fresh", "used"] {
        let path = Path::new(&directory).join(name);
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(&error, StoreError::Denied { path: denied, .. } if *denied == path.join("lock")), "{error}");
    }
    assert_eq!(Store::audit(Path::new(&directory).join("used")).unwrap().records, 1, "reading is allowed");
    println!("read_only_child: done");
}

fn skipped(test: &str, reason: &str) {
    println!("SKIPPED: {test}: {reason}");
}

fn reason<T>(result: Result<T, StoreError>) -> Result<(), &'static str> {
    result.map(|_| ()).map_err(|error| error.reason())
}

fn entry(sequence: u64) -> Entry {
    Entry::Telemetry { packet: vec![sequence as u8; 200] }
}
