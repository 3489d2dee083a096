//! Atomic replacement of files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Replaces the file `name` in `directory`. A reader sees either the old content or the new content. Once this has returned, the new
/// content survives a power cut: the bytes are synced before the rename, the directory after it.
pub(crate) fn replace(directory: &Path, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name))?;
    sync_directory(directory)
}

/// A temporary file that, once renamed, others may read if the umask allows it.
fn temporary(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    builder.tempfile_in(directory)
}

/// Makes a directory and those above it that are missing, durably.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).count();
    std::fs::create_dir_all(directory)?;
    directory.ancestors().skip(1).take(missing).try_for_each(sync_directory)
}

/// The empty path is the current directory.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

/// On other systems a directory cannot be opened as a file, and the file system makes names durable by itself.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
