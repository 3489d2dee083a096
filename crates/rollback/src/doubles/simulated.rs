use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{SECTOR_BYTES, Storage, StoreError};

/// A kind of access to a [`Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of the methods")]
pub enum Operation {
    List,
    Length,
    Read,
    Write,
    Truncate,
    Sync,
    Rename,
    Remove,
    SyncDirectory,
}

/// A disk in memory that remembers what was synced.
///
/// [`images`](Self::images) gives what a power cut can leave of it. [`fail`](Self::fail) lets an operation fail. A clone is a
/// handle on the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What was there, durably, before the first step.
    pub(super) base: Content,
    pub(super) steps: Vec<Step>,
    live: Content,
    done: BTreeMap<Operation, u64>,
    failure: Option<Failure>,
}

/// Names and files; a file keeps its number when it is renamed.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) names: BTreeMap<String, usize>,
    pub(super) files: BTreeMap<usize, Vec<u8>>,
}

/// Something that was done. Writes are split at the borders of sectors.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write { file: usize, offset: u64, bytes: Vec<u8> },
    Extend { file: usize, length: u64 },
    Truncate { file: usize, length: u64 },
    Link { name: String, file: usize },
    Rename { from: String, to: String, file: usize },
    Unlink { name: String, file: usize },
    Sync { file: usize, worked: bool },
    SyncDirectory { worked: bool },
    Mark(u64),
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    operation: Option<Operation>,
    left: u64,
    kind: ErrorKind,
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn holding(content: Content) -> Self {
        let disk = Disk { base: content.clone(), live: content, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Lets the `nth` operation from now on, counted from 0, fail once with `kind`; of one kind of operation, or of any. Half of
    /// a failing write arrives. What a failing sync of a file should have made durable may never become so.
    pub fn fail(&self, nth: u64, operation: Option<Operation>, kind: ErrorKind) {
        self.disk().failure = Some(Failure { operation, left: nth, kind });
    }

    /// Takes back a [`fail`](Self::fail) that has not struck. Whether it was still waiting.
    #[must_use]
    pub fn heal(&self) -> bool {
        self.disk().failure.take().is_some()
    }

    /// How many operations of this kind were tried.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.disk().done.get(&operation).copied().unwrap_or(0)
    }

    /// How many operations of any kind were tried.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk().done.values().sum()
    }

    /// Remembers a number at this point of the history: an image says which was the last one before the cut.
    pub fn mark(&self, number: u64) {
        self.disk().steps.push(Step::Mark(number));
    }

    /// All files as a running process sees them.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        let content = |file: &usize| disk.live.files.get(file).cloned().unwrap_or_default();
        disk.live.names.iter().map(|(name, file)| (name.clone(), content(file))).collect()
    }

    /// Changes the bytes of a file without a trace, as a failing medium would.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        if let Some(file) = disk.live.names.get(name).copied() {
            let mut bytes = disk.live.files.remove(&file).unwrap_or_default();
            change(&mut bytes);
            disk.live.files.insert(file, bytes);
        }
        (disk.base, disk.steps) = (disk.live.clone(), Vec::new());
    }

    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Counts the operation, and fails it if a test wants that.
    fn begin(&mut self, operation: Operation, action: &'static str, name: &str) -> Result<(), StoreError> {
        *self.done.entry(operation).or_default() += 1;
        if let Some(failure) = &mut self.failure
            && failure.operation.is_none_or(|wanted| wanted == operation)
        {
            if failure.left == 0 {
                let error = io::Error::new(failure.kind, "as scripted");
                self.failure = None;
                return Err(StoreError::from_io(action, &PathBuf::from(name), &error));
            }
            failure.left -= 1;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) {
        self.live.apply(&step);
        self.steps.push(step);
    }

    fn file(&self, action: &'static str, name: &str) -> Result<usize, StoreError> {
        let missing = || StoreError::from_io(action, &PathBuf::from(name), &ErrorKind::NotFound.into());
        self.live.names.get(name).copied().ok_or_else(missing)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) {
        let file = self.live.names.get(name).copied().unwrap_or_else(|| {
            let file = self.live.files.keys().next_back().map_or(0, |last| last + 1);
            self.step(Step::Link { name: name.to_owned(), file });
            file
        });
        let length = self.live.files.get(&file).map_or(0, Vec::len) as u64;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let here = rest.len().min((SECTOR_BYTES - at % SECTOR_BYTES) as usize);
            let (piece, after) = rest.split_at(here);
            self.step(Step::Write { file, offset: at, bytes: piece.to_vec() });
            (at, rest) = (at + here as u64, after);
        }
        if at > length {
            self.step(Step::Extend { file, length: at });
        }
    }
}

impl Content {
    /// What the step does to names and files. Applied to what was never linked, it changes bytes that no name leads to.
    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Write { file, offset, bytes } => {
                let content = self.files.entry(*file).or_default();
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                content.resize(content.len().max(end), 0);
                content[start..end].copy_from_slice(bytes);
            }
            Step::Extend { file, length } => {
                let content = self.files.entry(*file).or_default();
                content.resize(content.len().max(*length as usize), 0);
            }
            Step::Truncate { file, length } => self.files.entry(*file).or_default().truncate(*length as usize),
            Step::Link { name, file } => {
                self.names.insert(name.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Step::Rename { from, to, file } => {
                if self.names.get(from) == Some(file) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Step::Unlink { name, file } => {
                if self.names.get(name) == Some(file) {
                    self.names.remove(name);
                }
            }
            Step::Sync { .. } | Step::SyncDirectory { .. } | Step::Mark(_) => {}
        }
    }
}

impl Storage for SimulatedDisk {
    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut disk = self.disk();
        disk.begin(Operation::List, "list", "")?;
        Ok(disk.live.names.keys().cloned().collect())
    }

    fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let mut disk = self.disk();
        disk.begin(Operation::Length, "look for", name)?;
        let file = disk.live.names.get(name);
        Ok(file.map(|file| disk.live.files.get(file).map_or(0, Vec::len) as u64))
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let mut disk = self.disk();
        disk.begin(Operation::Read, "read", name)?;
        let file = disk.file("read", name)?;
        let content = disk.live.files.get(&file).map_or(&[][..], Vec::as_slice);
        content.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec).ok_or_else(|| StoreError::Truncated {
            path: name.into(),
            offset: content.len() as u64,
            expected: range.end,
        })
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.disk();
        let begun = disk.begin(Operation::Write, "write", name);
        let arrives = if begun.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        disk.write(name, offset, arrives);
        begun
    }

    fn truncate(&self, name: &str, length: u64) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.begin(Operation::Truncate, "truncate", name)?;
        let file = disk.file("truncate", name)?;
        disk.step(Step::Truncate { file, length });
        Ok(())
    }

    fn sync(&self, name: &str) -> Result<(), StoreError> {
        let mut disk = self.disk();
        let begun = disk.begin(Operation::Sync, "sync", name);
        let file = disk.file("sync", name)?;
        disk.step(Step::Sync { file, worked: begun.is_ok() });
        begun
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.begin(Operation::Rename, "rename", from)?;
        let file = disk.file("rename", from)?;
        disk.step(Step::Rename { from: from.to_owned(), to: to.to_owned(), file });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.begin(Operation::Remove, "remove", name)?;
        let file = disk.file("remove", name)?;
        disk.step(Step::Unlink { name: name.to_owned(), file });
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), StoreError> {
        let mut disk = self.disk();
        let begun = disk.begin(Operation::SyncDirectory, "sync", "");
        disk.step(Step::SyncDirectory { worked: begun.is_ok() });
        begun
    }
}
