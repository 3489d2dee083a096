//! What the records of a journal need.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Digest, Entry, Record};

/// How many of the newest snapshots stay usable.
pub const KEPT_SNAPSHOTS: usize = 2;

/// A checkpoint that a rollback can go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The epoch.
    pub epoch: u64,
    /// The training step at which it was taken.
    pub step: u64,
    /// The state, encoded by the crate above.
    pub bytes: Vec<u8>,
    /// The blobs that it names.
    pub blobs: Vec<Digest>,
}

impl Epoch {
    pub(crate) fn to_entry(&self) -> Entry {
        let Self { epoch, step, bytes, blobs } = self.clone();
        Entry::Epoch { epoch, step, bytes, blobs }
    }
}

/// An index over the records that a journal holds: snapshots, epochs, and the blobs that are named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    /// The newest snapshots, oldest first, at most [`KEPT_SNAPSHOTS`].
    snapshots: VecDeque<u64>,
    /// The blobs that snapshots and deltas name, by record.
    named: BTreeMap<u64, Vec<Digest>>,
    /// The live epochs, each with its newest record.
    epochs: BTreeMap<u64, (u64, Epoch)>,
}

impl Holdings {
    /// Takes the next record.
    pub(crate) fn observe(&mut self, record: &Record) {
        self.observe_entry(record.sequence, &record.entry);
    }

    pub(crate) fn observe_entry(&mut self, sequence: u64, entry: &Entry) {
        match entry {
            Entry::Snapshot { blobs, .. } => {
                self.snapshots.push_back(sequence);
                if self.snapshots.len() > KEPT_SNAPSHOTS {
                    self.snapshots.pop_front();
                }
                self.named.insert(sequence, blobs.clone());
                let oldest = self.needed_from();
                self.named.retain(|named, _| *named >= oldest);
            }
            Entry::Delta { blobs, .. } => {
                if !blobs.is_empty() {
                    self.named.insert(sequence, blobs.clone());
                }
            }
            Entry::Epoch { epoch, step, bytes, blobs } => {
                let (epoch, step, bytes, blobs) = (*epoch, *step, bytes.clone(), blobs.clone());
                self.epochs.insert(epoch, (sequence, Epoch { epoch, step, bytes, blobs }));
            }
            Entry::EpochDropped { epoch } => {
                self.epochs.remove(epoch);
            }
            Entry::NonceSeen { .. }
            | Entry::Accepted { .. }
            | Entry::Refused { .. }
            | Entry::Ordered { .. }
            | Entry::Moved { .. }
            | Entry::RolledBack { .. }
            | Entry::Telemetry { .. }
            | Entry::WatermarkReset { .. } => {}
        }
    }

    /// The sequence numbers of the newest snapshots, newest first.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = u64> + '_ {
        self.snapshots.iter().rev().copied()
    }

    /// The first record that recovery may need: the older of the kept snapshots, or everything while there are fewer.
    pub(crate) fn needed_from(&self) -> u64 {
        if self.snapshots.len() < KEPT_SNAPSHOTS { 0 } else { self.snapshots.front().copied().unwrap_or(0) }
    }

    /// The first record that must stay in the journal: as [`needed_from`](Self::needed_from), and no live epoch may go.
    pub(crate) fn compactable_to(&self) -> u64 {
        self.epochs.values().map(|(sequence, _)| *sequence).chain([self.needed_from()]).min().unwrap_or(0)
    }

    /// The live epochs, oldest first.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.epochs.values().map(|(_, epoch)| epoch)
    }

    /// The blobs that records from `from` on, and the live epochs, name.
    pub(crate) fn blobs_from(&self, from: u64) -> BTreeSet<Digest> {
        let recorded = self.named.range(from..).flat_map(|(_, blobs)| blobs);
        recorded.chain(self.epochs().flat_map(|epoch| &epoch.blobs)).copied().collect()
    }
}
