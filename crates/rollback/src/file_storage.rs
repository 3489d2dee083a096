//! A directory of the file system.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{Storage, StoreError};

/// The file whose lock says who owns the directory.
pub(crate) const LOCK: &str = "lock";

/// A directory: files with mode 0600, and the directory itself 0700 if it is made here.
///
/// [`open`](Self::open) holds an exclusive lock on the file `lock` until the value is dropped or its process dies.
#[derive(Debug)]
pub struct FileStorage {
    directory: PathBuf,
    /// Open files by name. A sync must go through the handle that wrote, or a failed write-back may go unseen.
    open: Mutex<BTreeMap<String, File>>,
    lock: Option<Lock>,
}

impl FileStorage {
    /// Owns `directory`, and makes it and those above it that are missing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if somebody else owns it, [`StoreError::NotAStore`] if it is not a directory.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        if directory.is_file() {
            return Err(StoreError::NotAStore { path: directory.to_owned(), detail: "it is a file".to_owned() });
        }
        create_directory(directory)?;
        let mut storage = Self::inspect(directory);
        let path = storage.path(LOCK);
        let lock = writable().create(true).open(&path).map_err(failed("open", &path))?;
        storage.lock = Some(match lock.try_lock() {
            Ok(()) => Lock(lock),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        });
        Ok(storage)
    }

    /// A look at a directory without owning it. For reading only: nothing keeps an owner from writing meanwhile.
    #[must_use]
    pub fn inspect(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_owned(), open: Mutex::default(), lock: None }
    }

    /// Does something with the handle of a file that is written to.
    fn with<T>(
        &self,
        name: &str,
        action: &'static str,
        act: impl FnOnce(&mut File) -> std::io::Result<T>,
    ) -> Result<T, StoreError> {
        let path = self.path(name);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(name) {
            let file = writable().create(action == "write").open(&path).map_err(failed("open", &path))?;
            open.insert(name.to_owned(), file);
        }
        open.get_mut(name).map_or_else(|| Err(ErrorKind::NotFound.into()), act).map_err(failed(action, &path))
    }

    fn close(&self, name: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Storage for FileStorage {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let listing = match fs::read_dir(&self.directory) {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.directory)(error)),
        };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(failed("list", &self.directory))
        };
        listing.map(name).filter(|name| !matches!(name, Ok(name) if name == LOCK)).collect()
    }

    fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path(name);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look for", &path)(error)),
        }
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name);
        let mut file = File::open(&path).map_err(failed("open", &path))?;
        let there = file.metadata().map_err(failed("read", &path))?.len();
        if there < range.end {
            return Err(StoreError::Truncated { path, offset: there, expected: range.end });
        }
        let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)];
        file.seek(SeekFrom::Start(range.start)).map_err(failed("read", &path))?;
        file.read_exact(&mut bytes).map_err(failed("read", &path))?;
        Ok(bytes)
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.with(name, "write", |file| {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    fn truncate(&self, name: &str, length: u64) -> Result<(), StoreError> {
        self.with(name, "truncate", |file| file.set_len(length))
    }

    fn sync(&self, name: &str) -> Result<(), StoreError> {
        self.with(name, "sync", |file| file.sync_data())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let path = self.path(from);
        fs::rename(&path, self.path(to)).map_err(failed("rename", &path))?;
        self.close(from);
        self.close(to);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        self.close(name);
        fs::remove_file(&path).map_err(failed("remove", &path))
    }

    fn sync_directory(&self) -> Result<(), StoreError> {
        sync_directory(&self.directory)
    }
}

/// The ownership of a directory.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing alone would leave the lock to a process that is being forked just now, until it executes something else.
    fn drop(&mut self) {
        // If this fails, closing releases it.
        let _ = self.0.unlock();
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |error| StoreError::from_io(action, path, &error)
}

fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a directory and those above it that are missing, durably.
fn create_directory(directory: &Path) -> Result<(), StoreError> {
    let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).count();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(failed("create", directory))?;
    directory.ancestors().skip(1).take(missing).try_for_each(sync_directory)
}

/// Makes the names in a directory durable. The empty path is the current directory.
fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if cfg!(unix) {
        File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))?;
    }
    Ok(())
}
