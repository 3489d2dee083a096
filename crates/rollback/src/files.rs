//! Files that are there as a whole or not at all.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
};

use crate::StoreError;

/// Says which file and what was tried.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| {
        let (path, kind, detail) = (path.to_owned(), error.kind(), error.to_string());
        if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
            StoreError::Full { path, action, detail }
        } else if matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
            StoreError::Denied { path, action, detail }
        } else {
            StoreError::Io { path, action, kind, detail }
        }
    }
}

/// Writes a durable file at `temporary`; removes it again when that fails.
pub(crate) fn stage(temporary: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let write = || {
        let mut file = File::create(temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    };
    write().map_err(|error| {
        // Best effort: what is left over is overwritten or removed the next time.
        let _ = fs::remove_file(temporary);
        failed("write", temporary)(error)
    })
}

/// Gives a staged file its name, durably.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(temporary, path).map_err(failed("rename", temporary))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes a directory and those above it that are missing, durably.
pub(crate) fn create_directory(directory: &Path) -> Result<(), StoreError> {
    let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).count();
    fs::create_dir_all(directory).map_err(failed("create", directory))?;
    directory.ancestors().skip(1).take(missing).try_for_each(sync_directory)
}

/// Makes the names in a directory durable. The empty path is the current directory.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if cfg!(unix) {
        File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_device_is_called_full() {
        let path = Path::new("/dev/full");
        let error = fs::write(path, b"x").map_err(failed("write", path)).unwrap_err();
        assert_eq!(error.reason(), "disk_full");
        assert!(error.to_string().starts_with("/dev/full: cannot write: no space left"), "{error}");
    }
}
