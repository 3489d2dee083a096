//! Journal and blobs together: what belongs to one acknowledgement, and what may go.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use kasmina_leyline::Monotonic;

use crate::{
    Blobs, Digest, Entry, Epoch, Journal, KeeperSettings, StoreError, Visitor, backoff::Backoff, holdings::Holdings,
};

/// Owns a journal and the blobs that its entries name. Knows nothing of seeds and reads no clock.
///
/// For each acknowledgement: [`ready`](Self::ready) before anything is encoded, [`put_all`](Self::put_all) for the weights that
/// changed, [`append`](Self::append) for the batch. When `append` has returned, everything is durable; if any of the three
/// refuses, nothing may be acknowledged and nothing is left behind.
pub struct Keeper {
    journal: Box<dyn Journal>,
    blobs: Box<dyn Blobs>,
    settings: KeeperSettings,
    holdings: Holdings,
    /// The first records of batches with nonces, and when they were written, oldest first.
    nonces: VecDeque<(u64, Monotonic)>,
    pinned: Option<u64>,
    /// The blobs stored since the last append, and whether they were written or there already.
    fresh: BTreeSet<Digest>,
    reused: BTreeSet<Digest>,
    /// Records since the newest snapshot, or since the beginning.
    since_snapshot: u64,
    sweep_due: bool,
    writes: Backoff,
    upkeep: Backoff,
    upkeep_error: Option<StoreError>,
}

impl Keeper {
    /// Takes over a journal and its blobs. Reads the journal once, and deletes the blobs that nothing names.
    ///
    /// # Errors
    /// [`StoreError`]: the journal cannot be read. Blobs that cannot be deleted now are tried again later.
    pub fn open(
        mut journal: Box<dyn Journal>,
        blobs: Box<dyn Blobs>,
        settings: KeeperSettings,
        now: Monotonic,
    ) -> Result<Self, StoreError> {
        let held = match journal.status() {
            // A journal that is not there holds nothing and takes nothing.
            Err(StoreError::NotWired { .. }) => 0..0,
            held => held?,
        };
        let wired = held.end > 0;
        let (mut holdings, mut nonces, mut newest) = (Holdings::default(), VecDeque::new(), held.start);
        let mut observe = |record: crate::Record| {
            holdings.observe(&record);
            if matches!(record.entry, Entry::NonceSeen { .. }) && nonces.is_empty() {
                // When the nonces were written is not known any more. As late as possible is safe, for all of them.
                nonces.push_back((record.sequence, now));
            }
            if matches!(record.entry, Entry::Snapshot { .. }) {
                newest = record.sequence;
            }
            std::ops::ControlFlow::Continue(())
        };
        if !held.is_empty() {
            journal.visit(0..u64::MAX, &mut observe)?;
        }
        let mut keeper = Self {
            journal,
            blobs,
            settings,
            holdings,
            nonces,
            pinned: None,
            fresh: BTreeSet::new(),
            reused: BTreeSet::new(),
            since_snapshot: held.end - newest,
            sweep_due: wired,
            writes: Backoff::new(settings.first_wait, settings.longest_wait),
            upkeep: Backoff::new(settings.first_wait, settings.longest_wait),
            upkeep_error: None,
        };
        // No compaction yet: the owner has not said what is pinned.
        if let Err(error) = keeper.sweep() {
            keeper.upkeep.failed(error.reason(), now);
            keeper.upkeep_error = Some(error);
        }
        Ok(keeper)
    }

    /// Whether a write has a chance. Ask before encoding anything: it costs nothing.
    ///
    /// # Errors
    /// What the journal refuses with, or [`StoreError::BackingOff`].
    pub fn ready(&self, now: Monotonic) -> Result<(), StoreError> {
        self.journal.status()?;
        self.writes.ready(now)
    }

    /// Stores a blob for the next [`append`](Self::append). See [`put_all`](Self::put_all).
    ///
    /// # Errors
    /// Those of [`put_all`](Self::put_all).
    pub fn put(&mut self, bytes: &[u8], now: Monotonic) -> Result<Digest, StoreError> {
        self.put_all(&[bytes], now).map(|_| Digest::of(bytes))
    }

    /// Stores blobs for the next [`append`](Self::append), durable when it returns. What is stored already costs nothing.
    /// A blob that neither the next batch nor anything live names is deleted after that batch.
    ///
    /// # Errors
    /// [`StoreError`]: what was stored since the last append is deleted again. Not tried while [`ready`](Self::ready) is an
    /// error.
    pub fn put_all(&mut self, blobs: &[&[u8]], now: Monotonic) -> Result<Vec<Digest>, StoreError> {
        self.ready(now)?;
        let digests: Vec<_> = blobs.iter().map(|bytes| Digest::of(bytes)).collect();
        let (reused, fresh): (Vec<_>, Vec<_>) = digests.iter().partition(|digest| self.blobs.contains(digest));
        self.blobs.put_all(blobs).inspect_err(|error| self.refuse(error, now))?;
        self.reused.extend(reused.into_iter().filter(|digest| !self.fresh.contains(digest)));
        self.fresh.extend(fresh);
        Ok(digests)
    }

    /// Reads a blob and verifies it.
    ///
    /// # Errors
    /// Those of [`Blobs::get`].
    pub fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.blobs.get(digest)
    }

    /// Whether the blob is stored. Reads nothing.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest)
    }

    /// Appends one batch with one sync, and gives the sequence numbers. Acknowledged when it returns.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may be acknowledged, and blobs that were stored for this batch are deleted again (but not after
    /// a failed sync: the batch may be found when the store is opened again). Not tried while [`ready`](Self::ready) is an
    /// error. [`StoreError::UnstoredBlob`]: an entry names a blob that is not stored.
    pub fn append(&mut self, entries: &[Entry], now: Monotonic) -> Result<Range<u64>, StoreError> {
        self.find_blobs(entries)?;
        self.write(entries, now)
    }

    fn find_blobs(&self, entries: &[Entry]) -> Result<(), StoreError> {
        match entries.iter().flat_map(Entry::blobs).find(|digest| !self.blobs.contains(digest)) {
            Some(digest) => Err(StoreError::UnstoredBlob { digest: *digest }),
            None => Ok(()),
        }
    }

    fn write(&mut self, entries: &[Entry], now: Monotonic) -> Result<Range<u64>, StoreError> {
        self.ready(now)?;
        let places = self.journal.append(entries).inspect_err(|error| self.refuse(error, now))?;
        self.writes.succeeded();
        for (sequence, entry) in places.clone().zip(entries) {
            self.since_snapshot += 1;
            self.holdings.observe_entry(sequence, entry);
            if let Entry::Snapshot { .. } = entry {
                self.since_snapshot = 0;
                self.sweep_due = true;
            } else if let Entry::EpochDropped { .. } | Entry::Epoch { .. } = entry {
                self.sweep_due = true;
            }
        }
        let named: BTreeSet<_> = entries.iter().flat_map(Entry::blobs).collect();
        self.sweep_due |= self.fresh.iter().any(|digest| !named.contains(digest));
        self.fresh.clear();
        self.reused.clear();
        if entries.iter().any(|entry| matches!(entry, Entry::NonceSeen { .. })) {
            self.nonces.push_back((places.start, now));
        }
        self.tidy(now);
        Ok(places)
    }

    /// Appends the whole state, and the live epochs after it, so that everything before the snapshot before this one may go.
    /// Gives its sequence number.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub fn snapshot(&mut self, bytes: Vec<u8>, blobs: Vec<Digest>, now: Monotonic) -> Result<u64, StoreError> {
        let epochs = self.holdings.epochs().map(Epoch::to_entry);
        let batch: Vec<_> = std::iter::once(Entry::Snapshot { bytes, blobs }).chain(epochs).collect();
        // The epochs are in the journal already: a blob of theirs that was damaged since must not stop every snapshot.
        self.find_blobs(&batch[..1])?;
        Ok(self.write(&batch, now)?.start)
    }

    /// Whether so much was appended since the newest snapshot that it is time for another.
    #[must_use]
    pub const fn snapshot_due(&self) -> bool {
        self.since_snapshot >= self.settings.snapshot_after
    }

    /// Appends a checkpoint that a rollback can go back to. One of the same epoch is replaced.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub fn epoch(&mut self, epoch: &Epoch, now: Monotonic) -> Result<u64, StoreError> {
        Ok(self.append(&[epoch.to_entry()], now)?.start)
    }

    /// Gives up a checkpoint.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub fn drop_epoch(&mut self, epoch: u64, now: Monotonic) -> Result<(), StoreError> {
        self.append(&[Entry::EpochDropped { epoch }], now).map(|_| ())
    }

    /// The checkpoints that a rollback can go back to, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.holdings.epochs()
    }

    /// The sequence numbers of the snapshots that recovery can start from, newest first. If the newest cannot be restored, the
    /// one before it can: the deltas after it, and the blobs that they name, are kept.
    pub fn snapshots(&self) -> impl Iterator<Item = u64> + '_ {
        self.holdings.snapshots()
    }

    /// Calls `visit` for the records of `range` that are held.
    ///
    /// # Errors
    /// Those of [`Journal::visit`].
    pub fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.journal.visit(range, visit)
    }

    /// The sequence numbers that are held.
    ///
    /// # Errors
    /// Those of [`Journal::status`].
    pub fn status(&self) -> Result<Range<u64>, StoreError> {
        self.journal.status()
    }

    /// Keeps the records from `sequence` on, for example packets that no sink has accepted yet. `None` keeps none for this.
    pub const fn pin(&mut self, sequence: Option<u64>) {
        self.pinned = sequence;
    }

    /// Gives up the nonces that were written before `since`. [`append`](Self::append) and [`tick`](Self::tick) do it by the
    /// retention of the settings.
    pub fn retain_nonces_since(&mut self, since: Monotonic) {
        while self.nonces.front().is_some_and(|(_, written)| *written < since) {
            self.nonces.pop_front();
        }
    }

    /// Compacts and sweeps if it is time to. For an owner that appends nothing for long.
    pub fn tick(&mut self, now: Monotonic) {
        self.tidy(now);
    }

    /// Deletes the blobs that were stored since the last append, if nothing else names them. For a caller that decides not to
    /// append after all.
    pub fn abandon(&mut self) {
        // After a failed sync the batch may be found again, and must find its blobs. Opening the store again sweeps them.
        if self.journal.status().is_err() {
            return;
        }
        let live = self.holdings.blobs_from(self.holdings.needed_from());
        let doomed: BTreeSet<_> =
            std::mem::take(&mut self.fresh).into_iter().filter(|blob| !live.contains(blob)).collect();
        self.reused.clear();
        if !doomed.is_empty() && self.blobs.retain(&mut |digest| !doomed.contains(digest)).is_err() {
            self.sweep_due = true;
        }
    }

    /// Why the last compaction or sweep failed, once. Nothing is lost by it but space.
    pub const fn take_upkeep_error(&mut self) -> Option<StoreError> {
        self.upkeep_error.take()
    }

    fn refuse(&mut self, error: &StoreError, now: Monotonic) {
        // A batch that is too large or misses a blob says nothing about the disk.
        if !matches!(error, StoreError::TooLarge { .. } | StoreError::Unreadable { .. }) {
            self.writes.failed(error.reason(), now);
        }
        self.abandon();
    }

    fn tidy(&mut self, now: Monotonic) {
        if self.upkeep.ready(now).is_err() || self.journal.status().is_err() {
            return;
        }
        match self.sweep().and_then(|()| self.compact(now)) {
            Ok(()) => self.upkeep.succeeded(),
            Err(error) => {
                self.upkeep.failed(error.reason(), now);
                self.upkeep_error = Some(error);
            }
        }
    }

    fn sweep(&mut self) -> Result<(), StoreError> {
        if !self.sweep_due {
            return Ok(());
        }
        let live = self.holdings.blobs_from(self.holdings.needed_from());
        let (fresh, reused) = (&self.fresh, &self.reused);
        let mut keep = |digest: &Digest| live.contains(digest) || fresh.contains(digest) || reused.contains(digest);
        self.blobs.retain(&mut keep)?;
        self.sweep_due = false;
        Ok(())
    }

    fn compact(&mut self, now: Monotonic) -> Result<(), StoreError> {
        // `since` earlier than the clock's origin: nothing is old enough.
        let age = now.since(Monotonic::ORIGIN);
        if let Some(since) = age.checked_sub(self.settings.retention) {
            self.retain_nonces_since(Monotonic::ORIGIN.after(since));
        }
        let held = self.journal.status()?;
        let by_nonces = self.nonces.front().map(|(sequence, _)| *sequence);
        let needed = [Some(self.holdings.compactable_to()), by_nonces, self.pinned].into_iter().flatten().min();
        let needed = needed.unwrap_or(held.start).min(held.end);
        if needed.saturating_sub(held.start) >= self.settings.compact_after {
            self.journal.compact(needed)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("held", &self.journal.status()).finish_non_exhaustive()
    }
}
