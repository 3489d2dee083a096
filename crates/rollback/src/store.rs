//! A journal and its blobs in one directory.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use kasmina_leyline::UnixTime;

use crate::{
    BlobDirectory, Digest, Entry, FileStorage, Journal, JournalFile, Storage, StoreError, blob_directory,
    holdings::Holdings,
    journal_file::{JOURNAL, visit},
    scan::scan,
    storage::{STAGED, stage},
};

/// A journal and its blobs in one directory, which one owner at a time has open.
///
/// Dropping its parts releases the directory; so does the death of its process. Nothing is left to be written at a drop.
#[derive(Debug)]
pub struct Store {
    /// The journal.
    pub journal: JournalFile,
    /// The blobs that its entries name.
    pub blobs: BlobDirectory,
    /// What was found when it was opened.
    pub recovery: Recovery,
}

/// What [`Store::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The sequence number of the oldest record; [`next_sequence`](Self::next_sequence) if there is none.
    pub first_sequence: u64,
    /// The sequence number that the next entry will get; 1 in a new store.
    pub next_sequence: u64,
    /// The [`StoreError::TornTail`] that was cut off: a batch that was never acknowledged, or the end of a file that was
    /// truncated later. Worth an event.
    pub torn_tail: Option<StoreError>,
}

/// What [`Store::audit`] read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// How many records.
    pub records: u64,
    /// The snapshots that recovery can start from, newest first.
    pub snapshots: Vec<u64>,
    /// The epochs that a rollback can go back to.
    pub epochs: Vec<u64>,
    /// How many blobs the newest snapshot, the deltas after it and the epochs name. All of them were verified.
    pub blobs: u64,
    /// How many bytes those blobs have.
    pub blob_bytes: u64,
    /// How many blobs are only there for the snapshot before the newest, or for nothing.
    pub other_blobs: u64,
    /// Why the snapshot before the newest could not be restored: the first of its blobs that is damaged or missing.
    pub previous_damage: Option<StoreError>,
}

/// What [`Store::salvage`] cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// What is wrong, and where the cut was made.
    pub damage: StoreError,
    /// Where the bytes after the cut are now.
    pub kept: PathBuf,
    /// The sequence number that the next entry will get.
    pub next_sequence: u64,
}

impl Store {
    /// Opens the store in `directory`, or makes one if the directory is empty or missing.
    ///
    /// Reads and verifies the whole journal, and lists the blobs. A torn tail is cut off and reported in
    /// [`recovery`](Self::recovery).
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed. A journal that is damaged other than by a torn tail is not opened, because what it
    /// acknowledged is in doubt: restore it from a copy, or decide to [`salvage`](Self::salvage) it.
    /// [`StoreError::OlderVersion`]: a store of the first format, which is not read any more.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(claim(directory.as_ref())?))
    }

    /// As [`open`](Self::open), on any storage.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(storage: Arc<dyn Storage>) -> Result<Self, StoreError> {
        recognise(&*storage)?;
        let (journal, torn_tail) = JournalFile::open(Arc::clone(&storage))?;
        let blobs = BlobDirectory::open(storage)?;
        let held = journal.status()?;
        let recovery = Recovery { first_sequence: held.start, next_sequence: held.end, torn_tail };
        Ok(Self { journal, blobs, recovery })
    }

    /// Reads everything in a store that nobody has open, and changes nothing.
    ///
    /// # Errors
    /// The first damage, a torn tail included; a blob that the newest state or an epoch needs and that is damaged or missing.
    pub fn audit(directory: impl AsRef<Path>) -> Result<Audit, StoreError> {
        Self::audit_on(&FileStorage::inspect(directory))
    }

    /// As [`audit`](Self::audit), on any storage.
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub fn audit_on(storage: &dyn Storage) -> Result<Audit, StoreError> {
        recognise(storage)?;
        let (mut holdings, mut records) = (Holdings::default(), 0);
        let found = scan(storage, JOURNAL)?;
        if let Some(damage) = found.damage {
            return Err(damage);
        }
        visit(storage, found.length, 0..u64::MAX, &mut |record| {
            records += 1;
            holdings.observe(&record);
            ControlFlow::Continue(())
        })?;
        let snapshots: Vec<_> = holdings.snapshots().collect();
        let needed = holdings.blobs_from(snapshots.first().copied().unwrap_or(0));
        let mut blob_bytes = 0;
        for digest in &needed {
            blob_bytes += verify(storage, digest)?;
        }
        let previous = snapshots.get(1).map(|previous| holdings.blobs_from(*previous)).unwrap_or_default();
        let previous_damage = previous.difference(&needed).find_map(|digest| verify(storage, digest).err());
        let stored: BTreeSet<_> = storage.list()?.iter().filter_map(|name| blob_directory::digest(name)).collect();
        Ok(Audit {
            records,
            snapshots,
            epochs: holdings.epochs().map(|epoch| epoch.epoch).collect(),
            blobs: needed.len() as u64,
            blob_bytes,
            other_blobs: stored.difference(&needed).count() as u64,
            previous_damage,
        })
    }

    /// Cuts a damaged journal off at the first damage, so that it opens again, and keeps what was after the cut in
    /// `journal.damaged-<offset>`, with a number behind it if an earlier salvage has kept other bytes there. `None` if there is no
    /// damage.
    ///
    /// This forgets acknowledged records. It is for a person to decide, never for a restart loop.
    ///
    /// # Errors
    /// [`StoreError`] if the journal's header itself is damaged, or the cut could not be made.
    pub fn salvage(directory: impl AsRef<Path>) -> Result<Option<Salvage>, StoreError> {
        Self::salvage_on(&claim(directory.as_ref())?)
    }

    /// As [`salvage`](Self::salvage), on any storage.
    ///
    /// # Errors
    /// As [`salvage`](Self::salvage).
    pub fn salvage_on(storage: &dyn Storage) -> Result<Option<Salvage>, StoreError> {
        recognise(storage)?;
        let found = scan(storage, JOURNAL)?;
        let Some(damage) = found.damage else { return Ok(None) };
        let behind = storage.read(JOURNAL, found.sound..found.length)?;
        let kept = place_for(storage, &format!("{JOURNAL}.damaged-{}", found.sound), &behind)?;
        let staged = stage(storage, &kept, |staged| storage.write(staged, 0, &behind))?;
        storage.rename(&staged, &kept)?;
        storage.sync_directory()?;
        storage.truncate(JOURNAL, found.sound)?;
        storage.sync(JOURNAL)?;
        Ok(Some(Salvage { damage, kept: storage.path(&kept), next_sequence: found.next }))
    }

    /// Journals an operator's reset of the replay protection's watermark, for a store that nobody has open: recovery refuses
    /// commands issued before `at`, and accepts later ones. Gives the record's sequence number.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and of the append; [`StoreError::NotAStore`] if there is no store yet.
    pub fn reset_watermark(directory: impl AsRef<Path>, at: UnixTime) -> Result<u64, StoreError> {
        let directory = directory.as_ref();
        if FileStorage::inspect(directory).length(JOURNAL)?.is_none() {
            return Err(StoreError::NotAStore { path: directory.to_owned(), detail: "it has no journal".to_owned() });
        }
        let mut store = Self::open(directory)?;
        Ok(store.journal.append(&[Entry::WatermarkReset { at }])?.start)
    }
}

/// Owns a directory that is a store's or empty. Another one is left as it is.
fn claim(directory: &Path) -> Result<FileStorage, StoreError> {
    if directory.is_dir() {
        recognise(&FileStorage::inspect(directory))?;
    }
    FileStorage::open(directory)
}

/// A name for these bytes under which no others are kept.
fn place_for(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<String, StoreError> {
    let (mut place, mut number) = (name.to_owned(), 1);
    while let Some(length) = storage.length(&place)? {
        if storage.read(&place, 0..length)? == bytes {
            break;
        }
        number += 1;
        place = format!("{name}-{number}");
    }
    Ok(place)
}

/// Reads a blob and gives its length.
fn verify(storage: &dyn Storage, digest: &Digest) -> Result<u64, StoreError> {
    let name = blob_directory::name(digest);
    let length = storage.length(&name)?.ok_or(StoreError::UnknownBlob { digest: *digest })?;
    let got = Digest::of(&storage.read(&name, 0..length)?);
    if got == *digest {
        return Ok(length);
    }
    Err(StoreError::CorruptBlob { path: storage.path(&name), expected: *digest, got })
}

/// Makes sure that the directory is a store's or empty.
fn recognise(storage: &dyn Storage) -> Result<(), StoreError> {
    let names = storage.list()?;
    if names.iter().any(|name| name == "checkpoints") {
        let (expected, got) = (crate::JOURNAL_VERSION, 1);
        return Err(StoreError::OlderVersion { path: storage.path(""), expected, got });
    }
    let blob = |name: &str| blob_directory::digest(name.strip_suffix(STAGED).unwrap_or(name)).is_some();
    let known = |name: &str| name == JOURNAL || name.starts_with("journal.") || blob(name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return Err(StoreError::NotAStore { path: storage.path(""), detail: format!("it holds {name:?}") });
    }
    let has_blobs = names.iter().any(|name| blob_directory::digest(name).is_some());
    if has_blobs && !names.iter().any(|name| name == JOURNAL) {
        return Err(StoreError::JournalMissing { path: storage.path(JOURNAL) });
    }
    Ok(())
}
