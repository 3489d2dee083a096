//! What the system refuses, and directories that are no stores.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use kasmina_leyline::UnixTime;
use kasmina_rollback::{Checkpoint, CheckpointId, CheckpointStore, Entry, Journal, Store, StoreError};

const DIRECTORY: &str = "KASMINA_ROLLBACK_ENVIRONMENT_DIRECTORY";

#[test]
fn one_owner_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(reason(Store::open(directory.path())), Err("locked"));
    assert_eq!(reason(Store::salvage(directory.path())), Err("locked"));
    let (journal, checkpoints) = store.split();
    drop(journal);
    assert_eq!(reason(Store::open(directory.path())), Err("locked"), "the other half is still open");
    drop(checkpoints);
    assert!(Store::open(directory.path()).is_ok());
}

#[test]
fn what_is_no_store_is_left_alone() {
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
fn a_missing_journal_is_not_replaced_by_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().save(&checkpoint("a", 10)).unwrap();
    fs::remove_file(directory.path().join("journal")).unwrap();
    assert_eq!(reason(Store::open(directory.path())), Err("journal_missing"));
    assert!(!directory.path().join("journal").exists());
}

#[test]
fn newer_versions_are_refused_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let newer = "journals and checkpoints of version 2, as a later release would write them";
    store.save(&checkpoint("a", 10)).unwrap();
    let path = directory.path().join("checkpoints/a.ckpt");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let header = 48 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let digest = sha256(&[&bytes[..16], &bytes[48..header]].concat());
    bytes[16..48].copy_from_slice(&digest);
    fs::write(&path, &bytes).unwrap();
    let error = store.load(&CheckpointId::new("a").unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { newest: 1, got: 2, .. }), "{newer}: {error}");
    drop(store);

    let path = directory.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let check = sha256(&bytes[..24]);
    bytes[24..32].copy_from_slice(&check[..8]);
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { newest: 1, got: 2, .. }), "{newer}: {error}");
}

#[test]
fn what_an_interrupted_save_left_over_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    fs::write(directory.path().join("checkpoints/a.new"), "half").unwrap();
    fs::write(directory.path().join("journal.new"), "half").unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.retain(&mut |_| true).unwrap(), []);
    assert!(!directory.path().join("checkpoints/a.new").exists());
    store.append(&[entry(1), entry(2)]).unwrap();
    store.compact(2).unwrap();
    assert_eq!(store.read(0).unwrap().len(), 1);
}

/// The limit on the size of a file, set by the shell before the child starts, is as hard as a full disk.
#[test]
#[cfg(unix)]
fn a_full_disk_refuses_and_takes_nothing_away() {
    let directory = tempfile::tempdir().unwrap();
    let executable = std::env::current_exe().unwrap();
    // SIGXFSZ would kill the child; ignored, the write fails instead. 32 blocks of 512 bytes: 16 KiB.
    let output = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 32 && exec \"$0\" --exact full_disk_child --nocapture"])
        .arg(executable)
        .env(DIRECTORY, directory.path())
        .output();
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("full_disk_child: done") => {}
        Ok(output) => panic!("{output:?}"),
        Err(error) => return skipped("a_full_disk_refuses_and_takes_nothing_away", &error.to_string()),
    }
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.recovery().torn_tail, None);
    let records = store.read(0).unwrap();
    assert!(records.len() > 10);
    assert!(records.iter().all(|record| record.entry == entry(record.sequence)));
    assert_eq!(store.load(&CheckpointId::new("small").unwrap()), Ok(checkpoint("small", 100)));
    assert_eq!(store.retain(&mut |_| true).unwrap().len(), 1);
}

/// Not a test: what runs under the limit.
#[test]
fn full_disk_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let mut store = Store::open(&directory).unwrap();
    store.save(&checkpoint("small", 100)).unwrap();
    assert_eq!(reason(store.save(&checkpoint("large", 100_000))), Err("disk_full"));
    assert!(!Path::new(&directory).join("checkpoints/large.new").exists());
    let mut next = 1;
    while let Ok(range) = store.append(&[entry(next), entry(next + 1), entry(next + 2)]) {
        next = range.end;
    }
    assert_eq!(reason(store.append(&[entry(next), entry(next + 1), entry(next + 2)])), Err("disk_full"), "still full");
    assert_eq!(store.read(0).unwrap().len() as u64, next - 1, "what was acknowledged is there");
    store.compact(next - 2).unwrap();
    let range = store.append(&[entry(next), entry(next + 1), entry(next + 2)]).unwrap();
    assert_eq!(range.start, next, "there is space again");
    store.append(&(range.end..range.end + 8).map(entry).collect::<Vec<_>>()).unwrap();
    println!("full_disk_child: done");
}

/// Root may write anywhere: the child runs as somebody else then.
#[test]
#[cfg(unix)]
fn a_read_only_directory_is_named() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    const TEST: &str = "a_read_only_directory_is_named";
    let directory = tempfile::tempdir().unwrap();
    let (fresh, used) = (directory.path().join("fresh"), directory.path().join("used"));
    fs::create_dir(&fresh).unwrap();
    Store::open(&used).unwrap().append(&[entry(1)]).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let protected = [&fresh, &used, &used.join("checkpoints")];
    fs::read_dir(&used).unwrap().for_each(|file| mode(&file.unwrap().path(), 0o444));
    protected.iter().for_each(|path| mode(path, 0o555));
    mode(directory.path(), 0o755);

    let root = fs::write(fresh.join("probe"), "x").is_ok();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "read_only_child", "--nocapture"]).env(DIRECTORY, directory.path());
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

fn checkpoint(name: &str, bytes: usize) -> Checkpoint {
    let blobs = BTreeMap::from([("weights".to_owned(), vec![3; bytes])]);
    Checkpoint { id: CheckpointId::new(name).unwrap(), at: UnixTime::from_millis(1), sequence: 0, blobs }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}
