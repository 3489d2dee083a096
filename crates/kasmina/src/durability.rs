//! What is acknowledged is durable: a checkpoint of what it led to, then one batch of the journal, then the answer.
//!
//! A checkpoint that no record of the journal names has never been acknowledged; [`recover`](crate::SeedManagerBuilder::recover)
//! deletes it. So the last record of a checkpoint says what the state is, and the records behind it are refusals and nonces.

mod error;
mod record;
mod recover;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    ops::Range,
};

use kasmina_leyline::{Monotonic, SeedId, UnixTime, v1::TelemetryPacket};
use kasmina_lifecycle::Transition;
use kasmina_rollback::{Checkpoint, CheckpointId, CheckpointStore, Entry, Journal, Record, StoreError};
use kasmina_telemetry::{Metric, names};
use prost::Message;

pub use error::CheckpointError;
pub(crate) use record::{Blobs, Book, Kept, blob, decode, encode};
pub use recover::Recovered;

use crate::{GraftBackend, SeedManager};

/// Records that the journal may hold beyond those that are needed, before it is compacted: each compaction writes what is kept
/// anew. Our choice: some 1 MiB of commands.
const COMPACT_AFTER: u64 = 4096;

/// Packets that are read back from the journal at once. Our choice: some MiB.
const MOST_RECALLED: usize = 1000;

/// Bytes of packets that go into the journal at once, well below what a batch may have. Our choice.
const MOST_SPILLED: usize = 16 << 20;

/// Something that has happened and is not durable yet.
#[derive(Clone)]
pub(crate) enum Unjournaled {
    /// When, by the wall clock.
    Moved(Transition, UnixTime),
    RolledBack {
        seed: SeedId,
        epoch: u64,
    },
}

/// The journal and the checkpoints, and what of them is in use.
pub(crate) struct Durability {
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) checkpoints: Box<dyn CheckpointStore>,
    pub(crate) incarnation: u64,
    /// Checkpoints named in this incarnation.
    named: u64,
    /// The last record.
    pub(crate) sequence: u64,
    /// The checkpoint that says what the state is, and before it the one that said so last: should the end of the journal be lost
    /// after all, there is still a state that goes with what is left.
    current: Vec<CheckpointId>,
    /// Checkpoints that a rollback can go back to, oldest first.
    pub(crate) kept: Vec<Kept>,
    /// First records of batches, and when they were written: a record is needed while its nonce is remembered.
    batches: VecDeque<(u64, Monotonic)>,
    /// The oldest record that the journal holds.
    oldest: u64,
    /// Whether the last attempt failed.
    failing: bool,
    /// Whether that has been told.
    told_failing: bool,
    /// What was cut off the journal when it was opened.
    pub(crate) torn_tail: Option<StoreError>,
    /// Packets read back from the journal on their way to a sink.
    recalled: BTreeMap<u64, Vec<u8>>,
}

impl Durability {
    pub(crate) fn new(journal: Box<dyn Journal>, checkpoints: Box<dyn CheckpointStore>) -> Self {
        Self {
            journal,
            checkpoints,
            incarnation: 0,
            named: 0,
            sequence: 0,
            current: Vec::new(),
            kept: Vec::new(),
            batches: VecDeque::new(),
            oldest: 1,
            failing: false,
            told_failing: false,
            torn_tail: None,
            recalled: BTreeMap::new(),
        }
    }

    /// Saves a checkpoint under a name that no other has.
    ///
    /// A journal that takes nothing any more is asked first: what it does not name would fill the disk.
    pub(crate) fn save(&mut self, what: &str, at: UnixTime, blobs: Blobs) -> Result<CheckpointId, CheckpointError> {
        self.journal.append(&[])?;
        let mut checkpoint = Checkpoint { id: self.next_name(what)?, at, sequence: self.sequence, blobs };
        loop {
            match self.checkpoints.save(&checkpoint) {
                Ok(()) => return Ok(checkpoint.id),
                // Saved by a process that was killed before any record named it.
                Err(StoreError::CheckpointExists { .. }) => checkpoint.id = self.next_name(what)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn next_name(&mut self, what: &str) -> Result<CheckpointId, CheckpointError> {
        self.named += 1;
        checkpoint_id(&format!("{what}-{}-{}", self.incarnation, self.named))
    }

    fn append(&mut self, entries: &[Entry], now: Monotonic) -> Result<Range<u64>, StoreError> {
        let places = self.journal.append(entries)?;
        if !places.is_empty() {
            self.sequence = places.end - 1;
            self.batches.push_back((places.start, now));
        }
        Ok(places)
    }

    /// The packet at this place of the journal.
    pub(crate) fn recall(&mut self, place: u64) -> Option<TelemetryPacket> {
        if !self.recalled.contains_key(&place) {
            let packet = |record: Record| match record.entry {
                Entry::Telemetry { packet } => Some((record.sequence, packet)),
                Entry::CommandAccepted { .. }
                | Entry::CommandRefused { .. }
                | Entry::Transition { .. }
                | Entry::NonceSeen { .. }
                | Entry::RolledBack { .. }
                | Entry::Checkpoint { .. } => None,
            };
            let packets = self.journal.read(place).ok()?.into_iter().filter_map(packet);
            self.recalled = packets.take(MOST_RECALLED).collect();
        }
        TelemetryPacket::decode(self.recalled.remove(&place)?.as_slice()).ok()
    }

    pub(crate) fn forget_recalled(&mut self) {
        self.recalled.clear();
    }

    /// Deletes every checkpoint but the current one and those that are kept.
    pub(crate) fn sweep(&mut self) -> Result<(), StoreError> {
        let (current, kept) = (&self.current, &self.kept);
        self.checkpoints
            .retain(&mut |found| current.contains(&found.id) || kept.iter().any(|kept| kept.id == found.id.as_str()))?;
        Ok(())
    }
}

impl<B: GraftBackend> SeedManager<B> {
    /// Makes the entries durable, and with them the state where something `changed`.
    ///
    /// # Errors
    /// [`CheckpointError`]: nothing may be acknowledged.
    pub(crate) fn persist(&mut self, entries: Vec<Entry>, changed: bool) -> Result<(), CheckpointError> {
        if self.durability.is_none() || (entries.is_empty() && !changed) {
            return Ok(());
        }
        let started = self.clock.monotonic();
        let untold = self.reporter.mark();
        // What is critical about it goes with it: a process that is killed before a sink has heard of it leaves it to the next.
        let drafts = self.reporter.draft_critical(self.step);
        let packets = drafts.iter().map(|packet| Entry::Telemetry { packet: packet.encode_to_vec() }).collect();
        let outcome = self.write(entries, packets, changed, started);
        let Some(durability) = &mut self.durability else { return Ok(()) };
        durability.failing = outcome.is_err();
        match outcome {
            Ok(batch) => {
                let ids = drafts.into_iter().map(|packet| packet.packet_id);
                self.reporter.note_drafts(ids.rev().zip(batch.rev()));
            }
            Err(error) => {
                self.reporter.back_to(untold);
                return Err(error);
            }
        }
        durability.told_failing = false;
        let took = self.clock.monotonic().since(started);
        self.reporter.metric(None, Metric::new(names::JOURNAL_APPEND, took.as_secs_f64() * 1e3));
        Ok(())
    }

    /// Tells that something could not be made durable: once, until something can again.
    pub(crate) fn tell_failing(&mut self, error: &CheckpointError) {
        let Some(durability) = &mut self.durability else { return };
        if !mem::replace(&mut durability.told_failing, true) {
            self.reporter.journal_failed(error);
        }
    }

    /// Gives the places of the batch: the entries, the checkpoint's if there is one, and behind it the packets, which it does not
    /// know of.
    fn write(
        &mut self,
        mut entries: Vec<Entry>,
        packets: Vec<Entry>,
        changed: bool,
        now: Monotonic,
    ) -> Result<Range<u64>, CheckpointError> {
        let book = self.book();
        let blobs = if changed { Some(encode(&self.state(), &book, now)?) } else { None };
        let at = self.clock.unix();
        let Some(durability) = &mut self.durability else { return Ok(0..0) };
        let Some(blobs) = blobs else {
            entries.extend(packets);
            return Ok(durability.append(&entries, now)?);
        };
        let bytes: usize = blobs.values().map(Vec::len).sum();
        let id = durability.save("state", at, blobs)?;
        entries.push(Entry::Checkpoint { id: id.clone() });
        entries.extend(packets);
        let batch = durability.append(&entries, now)?;
        durability.current.push(id);
        let surplus = durability.current.len().saturating_sub(2);
        durability.current.drain(..surplus);
        self.reporter.metric(None, Metric::new(names::CHECKPOINT_BYTES, bytes as f64));
        self.tidy_up();
        Ok(batch)
    }

    /// Deletes what nobody needs any more. Where that fails it is tried again with the next checkpoint.
    fn tidy_up(&mut self) {
        let ttl = self.verifier.gauges().ttl;
        let (last_verified, undelivered) = (self.last_verified, self.reporter.spilled().first().copied());
        let Some(durability) = &mut self.durability else { return };
        let _ = durability.sweep();
        // The last batch names the current checkpoint.
        while durability.batches.len() > 1
            && durability.batches.front().is_some_and(|(_, at)| at.after(ttl) <= last_verified)
        {
            durability.batches.pop_front();
        }
        let Some((needed, _)) = durability.batches.front() else { return };
        let needed = undelivered.map_or(*needed, |place| place.min(*needed));
        if needed.saturating_sub(durability.oldest) >= COMPACT_AFTER && durability.journal.compact(needed).is_ok() {
            durability.oldest = needed;
        }
    }

    /// What a checkpoint says besides the state.
    pub(crate) fn book(&self) -> Book {
        Book {
            run: self.run.to_string(),
            incarnation: self.durability.as_ref().map_or(0, |durability| durability.incarnation),
            watermark_unix_ns: self.verifier.gauges().watermark.map(|watermark| watermark.as_nanos()),
            kept: self.durability.as_ref().map_or_else(Vec::new, |durability| durability.kept.clone()),
            undelivered: self.reporter.spilled().into_iter().collect(),
        }
    }

    /// As [`commit`](Self::commit). What cannot be made durable now is told as failing, and tried again with what comes next.
    pub(crate) fn commit_or_tell(&mut self, changed: bool) {
        let failing = self.durability.as_ref().is_some_and(|durability| durability.failing);
        if let Err(error) = self.commit(changed || failing) {
            self.tell_failing(&error);
        }
    }

    /// Makes durable what time has moved, but does not try again where that failed: whoever is rejected must not be able to make
    /// the manager write.
    pub(crate) fn commit_unless_failing(&mut self) {
        if self.durability.as_ref().is_none_or(|durability| !durability.failing) {
            self.commit_or_tell(false);
        }
    }

    /// Makes the moves durable that are not yet; `changed` where something else is to be remembered. Only then are they told.
    pub(crate) fn commit(&mut self, changed: bool) -> Result<(), CheckpointError> {
        let entries = self.entries_from(0);
        let changed = changed || !entries.is_empty();
        self.persist(entries, changed)?;
        self.tell_from(0);
        Ok(())
    }

    /// Does what moves a seed forward, and undoes it where that cannot be made durable.
    pub(crate) fn durably<R, E: From<CheckpointError>>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<R, E>,
    ) -> Result<R, E> {
        let before = self.undo_point();
        let outcome = act(self);
        match self.commit(false) {
            Ok(()) => outcome,
            Err(error) => {
                self.undo(before);
                self.tell_failing(&error);
                Err(error.into())
            }
        }
    }

    /// What is not journaled yet, but for the first `skipped`, as entries.
    pub(crate) fn entries_from(&self, skipped: usize) -> Vec<Entry> {
        let entry = |done: &Unjournaled| match done {
            Unjournaled::Moved(Transition { seed_id, from, to, gate, .. }, at) => {
                Entry::Transition { seed_id: seed_id.clone(), from: *from, to: *to, gate: *gate, at: *at }
            }
            Unjournaled::RolledBack { seed, epoch } => Entry::RolledBack { seed_id: Some(seed.clone()), epoch: *epoch },
        };
        self.unjournaled.iter().skip(skipped).map(entry).collect()
    }

    /// The moves among that.
    pub(crate) fn moves_from(&self, skipped: usize) -> Vec<Transition> {
        let moved = |done: &Unjournaled| match done {
            Unjournaled::Moved(transition, _) => Some(transition.clone()),
            Unjournaled::RolledBack { .. } => None,
        };
        self.unjournaled.iter().skip(skipped).filter_map(moved).collect()
    }

    /// What was not journaled is now: its moves, but for the first `skipped`, may be told.
    pub(crate) fn tell_from(&mut self, skipped: usize) {
        let moves = self.moves_from(skipped);
        self.moved.extend(moves);
        self.unjournaled.clear();
    }

    /// Puts what no sink took of what is critical into the journal, so that it outlives the process.
    pub(crate) fn spill_telemetry(&mut self) {
        let now = self.clock.monotonic();
        let Some(durability) = self.durability.as_mut().filter(|durability| !durability.failing) else { return };
        let packets = self.reporter.unspilled();
        if packets.is_empty() {
            return;
        }
        let (mut entries, mut ids, mut bytes) = (Vec::new(), Vec::new(), 0);
        for packet in packets {
            let encoded = packet.encode_to_vec();
            bytes += encoded.len();
            entries.push(Entry::Telemetry { packet: encoded });
            ids.push(packet.packet_id.clone());
            if bytes > MOST_SPILLED {
                break;
            }
        }
        match durability.append(&entries, now) {
            Ok(places) => self.reporter.note_spilled(&ids.into_iter().zip(places).collect()),
            Err(error) => self.tell_failing(&error.into()),
        }
    }
}

pub(crate) fn checkpoint_id(name: &str) -> Result<CheckpointId, CheckpointError> {
    CheckpointId::new(name)
        .map_err(|error| CheckpointError::Malformed { what: "a checkpoint's name", detail: error.to_string() })
}
