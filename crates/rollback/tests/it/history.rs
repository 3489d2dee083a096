//! Histories of a store on a simulated disk, and a slow, obvious model of what was acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kasmina_leyline::{CommandId, Monotonic, UnixTime};
use kasmina_rollback::{
    Blobs, Digest, Entry, Epoch, Journal, Keeper, KeeperSettings, Store, StoreError,
    doubles::{Image, SimulatedDisk, conformance::records},
};
use proptest::prelude::*;

/// Something that an owner does. Blobs are named by a number that gives their bytes.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Append { packet: usize, blobs: Vec<u8> },
    Snapshot { blobs: Vec<u8> },
    Epoch { number: u64, blobs: Vec<u8> },
    Drop { number: u64 },
    Abandon { blob: u8 },
    Reopen,
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    let blobs = || prop::collection::vec(0..12_u8, 0..3);
    prop_oneof![
        4 => (0..1800_usize, blobs()).prop_map(|(packet, blobs)| Action::Append { packet, blobs }),
        2 => blobs().prop_map(|blobs| Action::Snapshot { blobs }),
        1 => (0..3_u64, blobs()).prop_map(|(number, blobs)| Action::Epoch { number, blobs }),
        1 => (0..3_u64).prop_map(|number| Action::Drop { number }),
        1 => (0..12_u8).prop_map(|blob| Action::Abandon { blob }),
        1 => Just(Action::Reopen),
    ]
}

/// A history in which everything happens: blobs twice, large batches, epochs that outlive snapshots, compaction.
pub(crate) fn scripted() -> Vec<Action> {
    use Action::{Abandon, Append, Drop, Epoch, Reopen, Snapshot};
    vec![
        Snapshot { blobs: vec![1, 2] },
        Append { packet: 40, blobs: vec![3] },
        Epoch { number: 1, blobs: vec![1, 3] },
        Append { packet: 1700, blobs: vec![1, 4] },
        Abandon { blob: 5 },
        Snapshot { blobs: vec![4] },
        Append { packet: 0, blobs: vec![5] },
        Reopen,
        Append { packet: 600, blobs: vec![] },
        Snapshot { blobs: vec![5, 6] },
        Append { packet: 10, blobs: vec![2, 3] },
        Drop { number: 1 },
        Epoch { number: 2, blobs: vec![7] },
        Snapshot { blobs: vec![8] },
        Append { packet: 500, blobs: vec![6] },
        Snapshot { blobs: vec![] },
        Append { packet: 3, blobs: vec![1] },
    ]
}

/// What is known at a mark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Every record that was ever acknowledged.
    acknowledged: BTreeMap<u64, Entry>,
    /// The batches that were tried since. At most one of them can be found, as a whole.
    tried: Vec<Vec<Entry>>,
}

impl Known {
    /// [`check`] appends a packet to what it found: a second power cut may find that too, after any of the batches.
    pub(crate) fn allow_check_packet(&mut self) {
        let with_packet = self.tried.iter().cloned().chain([vec![]]).map(|mut batch| {
            batch.push(check_packet());
            batch
        });
        self.tried.extend(with_packet.collect::<Vec<_>>());
    }
}

/// A store on a simulated disk, and what is known of it after each acknowledgement.
pub(crate) struct Run {
    pub(crate) disk: SimulatedDisk,
    pub(crate) known: Vec<Known>,
    keeper: Option<Keeper>,
    now: Monotonic,
    count: u64,
}

impl Run {
    /// Opens a store on the disk; nothing is acknowledged yet.
    pub(crate) fn new(disk: SimulatedDisk) -> Self {
        Self { disk, known: vec![Known::default()], keeper: None, now: Monotonic::ORIGIN, count: 0 }
    }

    /// Does what the actions say, whether or not the disk lets it.
    pub(crate) fn run(&mut self, actions: &[Action]) {
        for action in actions {
            // Long enough for every back-off.
            self.now = self.now.after(Duration::from_secs(3600));
            self.count += 1;
            if matches!(action, Action::Reopen) || self.keeper.as_ref().is_some_and(|keeper| keeper.status().is_err()) {
                self.keeper = None;
            }
            if self.open().is_ok() {
                // What is refused was not acknowledged: the model says what may be found of it.
                let _ = self.act(action);
            }
        }
    }

    /// Gives up everything; the disk works. The store has to be as small as one that never held anything.
    pub(crate) fn empty(&mut self) {
        let _ = self.disk.heal();
        self.keeper = None;
        self.open().unwrap();
        let epochs: Vec<_> = self.live_epochs().into_iter().map(|epoch| Action::Drop { number: epoch.epoch }).collect();
        self.run(&epochs);
        self.run(&[Action::Snapshot { blobs: vec![] }, Action::Snapshot { blobs: vec![] }]);
    }

    fn open(&mut self) -> Result<(), StoreError> {
        if self.keeper.is_some() {
            return Ok(());
        }
        let Store { journal, blobs, recovery } = Store::open_on(Arc::new(self.disk.clone()))?;
        // What was found is built on: from now on it counts as acknowledged.
        let mut known = self.last().clone();
        let found = recovery.next_sequence - 1 - known.acknowledged.len() as u64;
        if found > 0 {
            let batch = known.tried.iter().find(|batch| batch.len() as u64 == found).expect("a batch that was tried");
            for entry in batch.clone() {
                known.acknowledged.insert(known.acknowledged.len() as u64 + 1, entry);
            }
        }
        known.tried.clear();
        self.acknowledge(known);
        let settings = KeeperSettings { retention: Duration::ZERO, compact_after: 1, ..KeeperSettings::default() };
        self.keeper = Some(Keeper::open(Box::new(journal), Box::new(blobs), settings, self.now)?);
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), StoreError> {
        let now = self.now;
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let blobs = match action {
            Action::Append { blobs, .. } | Action::Snapshot { blobs } | Action::Epoch { blobs, .. } => blobs.clone(),
            Action::Abandon { blob } => vec![*blob],
            Action::Drop { .. } | Action::Reopen => vec![],
        };
        let bytes: Vec<_> = blobs.iter().map(|blob| content(*blob)).collect();
        let blobs = keeper.put_all(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>(), now)?;
        let command_id = CommandId::new(format!("command-{}", self.count)).unwrap();
        let batch = match action {
            Action::Append { packet, .. } => vec![
                Entry::NonceSeen { command_id, issued_at: UnixTime::from_millis(self.count as i64) },
                Entry::Telemetry { packet: vec![self.count as u8; *packet] },
                Entry::Delta { bytes: vec![7; 30], blobs },
            ],
            Action::Snapshot { .. } => {
                let epochs = self.live_epochs().into_iter().map(entry_of);
                [Entry::Snapshot { bytes: vec![8; 50], blobs }].into_iter().chain(epochs).collect()
            }
            Action::Epoch { number, .. } => {
                vec![entry_of(Epoch { epoch: *number, step: self.count, bytes: vec![9; 20], blobs })]
            }
            Action::Drop { number } => vec![Entry::EpochDropped { epoch: *number }],
            Action::Abandon { .. } => {
                keeper.abandon();
                return Ok(());
            }
            Action::Reopen => return Ok(()),
        };
        if let Some(known) = self.known.last_mut() {
            known.tried.push(batch.clone());
        }
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        if let Entry::Snapshot { bytes, blobs } = &batch[0] {
            keeper.snapshot(bytes.clone(), blobs.clone(), now)?;
        } else {
            keeper.append(&batch, now)?;
        }
        let mut known = self.last().clone();
        known.tried.clear();
        for entry in batch {
            known.acknowledged.insert(known.acknowledged.len() as u64 + 1, entry);
        }
        self.acknowledge(known);
        Ok(())
    }

    fn acknowledge(&mut self, known: Known) {
        self.disk.mark(self.known.len() as u64);
        self.known.push(known);
    }

    fn last(&self) -> &Known {
        self.known.last().unwrap()
    }

    fn live_epochs(&self) -> Vec<Epoch> {
        live_epochs(&self.last().acknowledged).into_values().map(|(_, epoch)| epoch).collect()
    }
}

/// Opens what a power cut left, and compares it with what was acknowledged.
pub(crate) fn check(image: &Image, known: &[Known]) {
    let (history, known) = (&image.history, &known[image.mark as usize]);
    let Store { mut journal, mut blobs, .. } =
        Store::open_on(Arc::new(image.disk.clone())).unwrap_or_else(|error| panic!("{error}: {history}"));
    let held = journal.status().unwrap();
    let found: BTreeMap<_, _> =
        records(&mut journal, 0).into_iter().map(|record| (record.sequence, record.entry)).collect();
    assert!(found.keys().copied().eq(held.clone()), "{history}");

    let acknowledged = known.acknowledged.len() as u64;
    assert!(held.end > acknowledged, "record {acknowledged} was acknowledged, {held:?} is held: {history}");
    let beyond: Vec<_> = found.range(acknowledged + 1..).map(|(_, entry)| entry.clone()).collect();
    assert!(beyond.is_empty() || known.tried.contains(&beyond), "never written: {beyond:?}: {history}");
    let mut all = known.acknowledged.clone();
    all.extend((acknowledged + 1..).zip(beyond));
    for (sequence, entry) in &found {
        assert_eq!(all.get(sequence), Some(entry), "record {sequence}: {history}");
    }

    let snapshots =
        all.iter().filter(|(_, entry)| matches!(entry, Entry::Snapshot { .. })).map(|(sequence, _)| *sequence);
    let base = snapshots.rev().nth(1).unwrap_or(1);
    let epochs = live_epochs(&all);
    let needed = epochs.values().map(|(sequence, _)| *sequence).chain([base]).min().unwrap();
    assert!(held.start <= needed, "record {needed} is needed, {held:?} is held: {history}");
    let named = |entry: &Entry| !matches!(entry, Entry::Epoch { .. });
    for digest in all.range(base..).filter(|(_, entry)| named(entry)).flat_map(|(_, entry)| entry.blobs()) {
        assert!(blobs.get(digest).is_ok(), "the blob {digest} of a state is missing or damaged: {history}");
    }
    for digest in epochs.values().flat_map(|(_, epoch)| &epoch.blobs) {
        assert!(blobs.get(digest).is_ok(), "the blob {digest} of an epoch is missing or damaged: {history}");
    }
    let stored = image.disk.files().into_keys().filter_map(|name| name.strip_suffix(".blob")?.parse().ok());
    assert!(stored.collect::<BTreeSet<Digest>>().is_subset(&digests()), "a blob that was never stored: {history}");

    // It goes on from there.
    assert_eq!(journal.append(&[check_packet()]).unwrap().start, held.end, "{history}");
    let mut again = Store::open_on(Arc::new(image.disk.clone())).unwrap().journal;
    assert_eq!(records(&mut again, held.end).len(), 1, "{history}");
}

fn check_packet() -> Entry {
    Entry::Telemetry { packet: vec![1] }
}

/// The bytes of a blob.
fn content(blob: u8) -> Vec<u8> {
    vec![blob; usize::from(blob) * 127]
}

fn entry_of(Epoch { epoch, step, bytes, blobs }: Epoch) -> Entry {
    Entry::Epoch { epoch, step, bytes, blobs }
}

/// The epochs that were not dropped, each with its newest record.
fn live_epochs(records: &BTreeMap<u64, Entry>) -> BTreeMap<u64, (u64, Epoch)> {
    let mut live = BTreeMap::new();
    for (sequence, entry) in records {
        if let Entry::Epoch { epoch, step, bytes, blobs } = entry {
            let checkpoint = Epoch { epoch: *epoch, step: *step, bytes: bytes.clone(), blobs: blobs.clone() };
            live.insert(*epoch, (*sequence, checkpoint));
        } else if let Entry::EpochDropped { epoch } = entry {
            live.remove(epoch);
        }
    }
    live
}

/// The digests of all blobs that a history can hold.
fn digests() -> BTreeSet<Digest> {
    (0..12).map(|blob| Digest::of(&content(blob))).collect()
}
