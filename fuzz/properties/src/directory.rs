//! A directory of a store that every run begins with empty.

use std::{fs, path::Path};

use tempfile::TempDir;

thread_local! {
    // One for all runs: making and removing it would take longer than what is tested in it.
    static DIRECTORY: TempDir = tempfile::Builder::new().prefix("kasmina-fuzz-").tempdir().expect("a temporary directory");
}

/// Calls `run` with the path of a store's directory in which there is nothing.
pub(crate) fn with_empty<T>(run: impl FnOnce(&Path) -> T) -> T {
    DIRECTORY.with(|directory| {
        let store = directory.path().join("store");
        fs::create_dir_all(&store).expect("make the directory");
        for file in fs::read_dir(&store).expect("list the directory").flatten() {
            fs::remove_file(file.path()).expect("remove what the last run left");
        }
        run(&store)
    })
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("write a file of the store");
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("read a file of the store")
}
