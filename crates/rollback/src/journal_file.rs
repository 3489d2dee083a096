//! A journal in one file.

use std::{
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    Entry, Journal, Record, Storage, StoreError, Visitor,
    frame::{Frame, HEADER_BYTES, Unreadable, encode_frame, encode_header},
    scan::{Frames, scan},
    storage::stage,
};

/// The name of the journal's file.
pub(crate) const JOURNAL: &str = "journal";

/// Bytes that are copied at once.
const COPY_BYTES: u64 = 1 << 20;

/// The journal of a [`Storage`], in the file `journal`.
pub struct JournalFile {
    storage: Arc<dyn Storage>,
    /// The bytes that are durable.
    length: u64,
    first: u64,
    next: u64,
    unusable: bool,
}

impl JournalFile {
    /// Opens the journal, and makes one if there is none. A torn tail is left out; its error is given beside the journal.
    ///
    /// What is found is written to a new file, which replaces the old one. A sync of the old file may have failed before, in a
    /// process that is gone; then what is read from it need not be on the medium, and another sync would not put it there.
    ///
    /// # Errors
    /// [`StoreError`]: the journal is as it was. Damage other than a torn tail is for a person to decide on.
    pub fn open(storage: Arc<dyn Storage>) -> Result<(Self, Option<StoreError>), StoreError> {
        let (mut first, mut next, mut length, mut torn) = (1, 1, HEADER_BYTES as u64, None);
        let staged = if storage.length(JOURNAL)?.is_some() {
            let found = scan(&*storage, JOURNAL)?;
            if let Some(damage) = found.damage.as_ref().filter(|damage| !matches!(damage, StoreError::TornTail { .. }))
            {
                return Err(damage.clone());
            }
            (first, next, length, torn) = (found.first, found.next, found.sound, found.damage);
            stage(&*storage, JOURNAL, |staged| copy(&*storage, staged, length))?
        } else {
            stage(&*storage, JOURNAL, |staged| storage.write(staged, 0, &encode_header(1)))?
        };
        storage.rename(&staged, JOURNAL)?;
        storage.sync_directory()?;
        Ok((Self { storage, length, first, next, unusable: false }, torn))
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.unusable { Err(StoreError::Unusable { path: self.path() }) } else { Ok(()) }
    }

    fn path(&self) -> PathBuf {
        self.storage.path(JOURNAL)
    }

    /// Cuts off what a failed write left. Only if that is durable may the next batch go to the same place: else a power cut
    /// could mix the two.
    fn cut_back(&mut self) {
        let cut = self.storage.truncate(JOURNAL, self.length).and_then(|()| self.storage.sync(JOURNAL));
        self.unusable = cut.is_err();
    }

    fn copy_from(&self, staged: &str, from: u64) -> Result<u64, StoreError> {
        self.storage.write(staged, 0, &encode_header(from))?;
        let mut length = HEADER_BYTES as u64;
        let mut frames = Frames::new(&*self.storage, JOURNAL, self.length)?;
        while let Some(frame) = frames.next_frame()? {
            if frame.end() <= from {
                continue;
            }
            let bytes = if frame.head.first >= from { frame.bytes } else { self.tail_of(&frame, from)? };
            self.storage.write(staged, length, &bytes)?;
            length += bytes.len() as u64;
        }
        Ok(length)
    }

    /// What is left of a batch when the records before `from` go.
    fn tail_of(&self, frame: &Frame, from: u64) -> Result<Vec<u8>, StoreError> {
        let mut kept = Vec::new();
        for record in frame.records() {
            let record = record.map_err(|error| unreadable(self.path(), frame, error))?;
            kept.extend((record.sequence >= from).then_some(record.entry));
        }
        let encoded = encode_frame(from, &kept);
        Ok(encoded.map_err(|error| error.into_store_error(self.path(), frame.offset, from))?.0)
    }
}

impl Journal for JournalFile {
    fn status(&self) -> Result<Range<u64>, StoreError> {
        self.usable().map(|()| self.first..self.next)
    }

    /// One frame, one sync.
    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        self.usable()?;
        let first = self.next;
        if entries.is_empty() {
            return Ok(first..first);
        }
        let (frame, count) =
            encode_frame(first, entries).map_err(|error| error.into_store_error(self.path(), self.length, first))?;
        let next = first.checked_add(count.into()).ok_or_else(|| StoreError::Corrupt {
            path: self.path(),
            offset: self.length,
            // Nobody gets there by counting: the file was forged.
            detail: "the sequence numbers: none are left for a batch",
        })?;
        if let Err(error) = self.storage.write(JOURNAL, self.length, &frame) {
            self.cut_back();
            return Err(error);
        }
        if let Err(error) = self.storage.sync(JOURNAL) {
            // After a failed sync the system may take the pages for clean: a second sync would prove nothing.
            self.unusable = true;
            return Err(error);
        }
        self.length += frame.len() as u64;
        self.next = next;
        Ok(first..next)
    }

    fn visit(&mut self, range: Range<u64>, each: &mut Visitor<'_>) -> Result<(), StoreError> {
        visit(&*self.storage, self.length, range, each)
    }

    /// Replaces the file by one that begins with the record `from`.
    fn compact(&mut self, from: u64) -> Result<(), StoreError> {
        self.usable()?;
        let from = from.min(self.next);
        if from <= self.first {
            return Ok(());
        }
        let mut length = 0;
        let staged = stage(&*self.storage, JOURNAL, |staged| {
            length = self.copy_from(staged, from)?;
            Ok(())
        })?;
        // Until the directory is synced it is open which of the two files has the name after a power cut, so nothing may be
        // appended to either.
        self.unusable = true;
        self.storage.rename(&staged, JOURNAL)?;
        self.storage.sync_directory()?;
        (self.length, self.first, self.unusable) = (length, from, false);
        Ok(())
    }
}

/// Copies the first `length` bytes of the journal.
fn copy(storage: &dyn Storage, staged: &str, length: u64) -> Result<(), StoreError> {
    let mut at = 0;
    while at < length {
        let end = length.min(at + COPY_BYTES);
        storage.write(staged, at, &storage.read(JOURNAL, at..end)?)?;
        at = end;
    }
    Ok(())
}

/// Visits the records of `range` among the first `length` bytes of the journal.
pub(crate) fn visit(
    storage: &dyn Storage,
    length: u64,
    range: Range<u64>,
    visit: &mut Visitor<'_>,
) -> Result<(), StoreError> {
    let mut frames = Frames::new(storage, JOURNAL, length)?;
    while let Some(frame) = frames.next_frame()? {
        if frame.head.first >= range.end {
            return Ok(());
        }
        if frame.end() <= range.start && frame.head.count > 0 {
            continue;
        }
        for record in frame.records() {
            let record: Record = record.map_err(|error| unreadable(storage.path(JOURNAL), &frame, error))?;
            if range.contains(&record.sequence) && visit(record) == ControlFlow::Break(()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn unreadable(path: PathBuf, frame: &Frame, error: Unreadable) -> StoreError {
    let offset = frame.offset;
    match error {
        Unreadable::Record { sequence, source } => StoreError::Unreadable { path, offset, sequence, source },
        Unreadable::Surplus => StoreError::Corrupt { path, offset, detail: "the number of a batch's records" },
    }
}

impl std::fmt::Debug for JournalFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalFile").field("path", &self.path()).field("held", &(self.first..self.next)).finish()
    }
}
