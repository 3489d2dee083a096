//! A journal and checkpoints in one directory.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Checkpoint, CheckpointId, CheckpointStore, CheckpointSummary, Entry, Journal, Record, StoreError,
    files::{create_directory, failed, publish, stage},
    log::{self, Log},
    vault::{self, Vault},
};

/// The embedded store: a [`Journal`] and a [`CheckpointStore`] in one directory, which one owner at a time has open.
///
/// Dropping it releases the directory; so does the death of its process. Nothing is left to be written when it is dropped.
#[derive(Debug)]
pub struct Store {
    journal: Held<Log>,
    checkpoints: Held<Vault>,
    recovery: Recovery,
}

/// What [`Store::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The sequence number of the oldest record; [`next_sequence`](Self::next_sequence) where there is none.
    pub first_sequence: u64,
    /// The sequence number that the next entry will get; 1 in a new store.
    pub next_sequence: u64,
    /// The [`StoreError::TornTail`] that was cut off: a batch that nobody was told was journaled, or the end of a file that
    /// was truncated later. Worth an event.
    pub torn_tail: Option<StoreError>,
}

/// What [`Store::audit`] read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// How many records.
    pub records: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// How many bytes the checkpoints take.
    pub checkpoint_bytes: u64,
}

/// What [`Store::salvage`] cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// What is wrong, and where the cut was made.
    pub damage: StoreError,
    /// Where the bytes behind the cut are now.
    pub kept: PathBuf,
    /// The sequence number that the next entry will get.
    pub next_sequence: u64,
}

impl Store {
    /// Opens the store in `directory`, or makes one where the directory is empty or missing.
    ///
    /// Reads and verifies the whole journal. A torn tail is cut off and reported in [`recovery`](Self::recovery).
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed. A journal that is damaged other than by a torn tail is not opened, because
    /// what it acknowledged is in doubt: restore it from elsewhere, or decide to [`salvage`](Self::salvage) it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let (lock, path) = (Arc::new(claim(directory)?), directory.join("journal"));
        if !path.try_exists().map_err(failed("look for", &path))? {
            if !vault::entries(&directory.join("checkpoints"))?.is_empty() {
                return Err(StoreError::JournalMissing { path });
            }
            Log::create(&path)?;
        }
        let (log, torn_tail) = Log::open(&path)?;
        let vault = Vault::open(directory.join("checkpoints"))?;
        let Range { start: first_sequence, end: next_sequence } = log.held();
        Ok(Self {
            journal: Held { inner: log, _lock: Arc::clone(&lock) },
            checkpoints: Held { inner: vault, _lock: lock },
            recovery: Recovery { first_sequence, next_sequence, torn_tail },
        })
    }

    /// What was found when the store was opened.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The two halves, for owners that keep them in different places. The directory is released with the last of them.
    #[must_use]
    pub fn split(self) -> (impl Journal + 'static, impl CheckpointStore + 'static) {
        (self.journal, self.checkpoints)
    }

    /// Reads everything in a store that nobody has open, and changes nothing.
    ///
    /// # Errors
    /// The first damage, a torn tail included.
    pub fn audit(directory: impl AsRef<Path>) -> Result<Audit, StoreError> {
        let directory = directory.as_ref();
        let path = directory.join("journal");
        let scan = log::scan(&path)?;
        if let Some(damage) = scan.damage {
            return Err(damage);
        }
        let records = log::records(&path, scan.length, 0)?.len() as u64;
        let vault = Vault::look(directory.join("checkpoints"));
        let mut audit = Audit { records, checkpoints: 0, checkpoint_bytes: 0 };
        for summary in vault.list()? {
            vault.load(&summary.id)?;
            audit.checkpoints += 1;
            audit.checkpoint_bytes += summary.bytes;
        }
        Ok(audit)
    }

    /// Cuts a damaged journal off at the first damage, so that it opens again, and keeps what was behind the cut in
    /// `journal.damaged-<offset>`. `None` where there is no damage.
    ///
    /// This forgets acknowledged records. It is for a person to decide, never for a restart loop.
    ///
    /// # Errors
    /// [`StoreError`] where the journal's header itself is damaged, or the cut could not be made.
    pub fn salvage(directory: impl AsRef<Path>) -> Result<Option<Salvage>, StoreError> {
        let directory = directory.as_ref();
        let (_lock, path) = (claim(directory)?, directory.join("journal"));
        let scan = log::scan(&path)?;
        let Some(damage) = scan.damage else { return Ok(None) };
        let mut file = File::options().read(true).write(true).open(&path).map_err(failed("open", &path))?;
        let mut behind = Vec::new();
        file.seek(SeekFrom::Start(scan.sound)).map_err(failed("read", &path))?;
        file.read_to_end(&mut behind).map_err(failed("read", &path))?;
        let kept = directory.join(format!("journal.damaged-{}", scan.sound));
        let temporary = directory.join("journal.new");
        stage(&temporary, &[&behind])?;
        publish(&temporary, &kept)?;
        file.set_len(scan.sound).and_then(|()| file.sync_all()).map_err(failed("truncate", &path))?;
        Ok(Some(Salvage { damage, kept, next_sequence: scan.next }))
    }
}

impl Journal for Store {
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        self.journal.append(entries)
    }

    fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError> {
        self.journal.read(from)
    }

    fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        self.journal.compact(before)
    }
}

impl CheckpointStore for Store {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.checkpoints.save(checkpoint)
    }

    fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        self.checkpoints.load(id)
    }

    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError> {
        self.checkpoints.retain(keep)
    }
}

/// A part of a store, and a share of its lock.
#[derive(Debug)]
struct Held<T> {
    inner: T,
    _lock: Arc<Lock>,
}

impl Journal for Held<Log> {
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        self.inner.append(entries)
    }

    fn read(&mut self, from: u64) -> Result<Vec<Record>, StoreError> {
        self.inner.read(from)
    }

    fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        self.inner.compact(before)
    }
}

impl CheckpointStore for Held<Vault> {
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.inner.save(checkpoint)
    }

    fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        self.inner.load(id)
    }

    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError> {
        self.inner.retain(keep)
    }
}

/// The ownership of a directory.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing alone would leave the lock to a process that is being forked just now, until it executes something else.
    fn drop(&mut self) {
        // Where this fails, closing releases it.
        let _ = self.0.unlock();
    }
}

/// Makes sure that the directory is a store's or empty, and takes its lock.
fn claim(directory: &Path) -> Result<Lock, StoreError> {
    if directory.is_file() {
        return Err(StoreError::NotAStore { path: directory.to_owned(), detail: "it is a file".to_owned() });
    }
    create_directory(directory)?;
    for path in vault::entries(directory)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !matches!(name, "lock" | "checkpoints" | "journal") && !name.starts_with("journal.") {
            let detail = format!("it holds {:?}", path.file_name().unwrap_or_default());
            return Err(StoreError::NotAStore { path: directory.to_owned(), detail });
        }
    }
    let path = directory.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}
