//! What is acknowledged is durable: the journal and the weights behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use kasmina_blending::GraftBackend;
use kasmina_engine::{Delta, Seed, State, state::RunState};
use kasmina_leyline::{CommandId, Monotonic, SeedId, UnixTime, v1::TelemetryPacket};
use kasmina_lifecycle::Transition;
use kasmina_rollback::{Digest, Entry, Keeper, StoreError};
use kasmina_security::Retention;
use prost::Message;

use crate::{
    error::CheckpointError,
    nonces::Nonces,
    records::{DeltaRecord, EpochRecord, Network, SnapshotRecord, Weights, WeightsBySeed, encode},
    tensors::{Plant, Tensors},
    trainer_state::Parts,
};

/// Packets that are read back from the journal at once. Our choice: a few MiB.
const MOST_RECALLED: usize = 1000;

/// Bytes of packets that go into the journal at once, well below what a batch may have. Our choice.
const MOST_SPILLED: usize = 16 << 20;

/// Seeds whose weights are written before another snapshot lets the older weights go. Our choice: weights are far larger than
/// a snapshot.
const MOST_SAVES: usize = 64;

/// Moves and answers that wait for a journal that fails. Beyond that, the nonces of commands that were answered `not_durable` are not
/// written. Our choice: a few hundred kilobytes.
const MOST_OWED: usize = 4096;

/// The journal, and what of this run is in it.
pub(crate) struct Durable {
    keeper: Keeper,
    run: String,
    incarnation: u64,
    weights: WeightsBySeed,
    /// The network that was saved last, but for those of epochs.
    network: Option<Network>,
    /// How often weights of a seed were written since the newest snapshot.
    saves: usize,
    /// Moves and answers that are not in the journal yet, oldest first.
    owed: Vec<Entry>,
    /// The same moves, to be reported once they are durable.
    owed_moves: Vec<Transition>,
    /// Seeds whose records are newer than what the journal holds, because they moved.
    moved: BTreeSet<SeedId>,
    /// Seeds whose records are newer because they learned.
    learned: BTreeSet<SeedId>,
    /// What belongs to no seed, as the journal holds it.
    run_written: Option<RunState>,
    /// Critical packets that the journal holds and does not know to be delivered.
    undelivered: BTreeSet<u64>,
    nonces: Nonces,
    /// When the keeper was opened: for it, all nonces that it found were written then.
    opened: Monotonic,
    /// Whether the last attempt to write failed.
    failing: bool,
    /// Whether that was emitted.
    failure_emitted: bool,
    /// What was cut off the journal when it was opened.
    torn_tail: Option<StoreError>,
    /// Packets read back from the journal on their way to a sink.
    recalled: BTreeMap<u64, Vec<u8>>,
}

/// What is to be made durable together.
pub(crate) struct Batch<'a> {
    /// Nonces, commands and moves, in order.
    pub(crate) entries: Vec<Entry>,
    /// The change that the batch makes.
    pub(crate) delta: &'a Delta,
    /// The state that it is made on.
    pub(crate) state: &'a State,
    /// Seeds whose weights must be in the store.
    pub(crate) weights: BTreeSet<SeedId>,
    /// The network that must be in the store.
    pub(crate) network: Option<Saved>,
    /// Critical packets that the batch causes.
    pub(crate) packets: Vec<Vec<u8>>,
    /// What the verifier must be told after a restart.
    pub(crate) retention: Retention,
    pub(crate) undelivered: BTreeSet<u64>,
}

/// A network on its way to the store.
pub(crate) enum Saved {
    /// Its parts.
    Parts(Parts),
    /// Of an epoch whose parts are there already.
    Epoch(Network),
}

/// What became durable.
#[derive(Default)]
pub(crate) struct Written {
    /// Moves that had been made before they were durable.
    pub(crate) moves: Vec<Transition>,
    /// Where the batch's packets are in the journal.
    pub(crate) packets: Vec<u64>,
    /// How long it took; `None` if there was nothing to write.
    pub(crate) took: Option<Duration>,
}

impl Durable {
    pub(crate) fn new(
        keeper: Keeper,
        run: String,
        retention: Duration,
        opened: Monotonic,
        torn_tail: Option<StoreError>,
    ) -> Self {
        Self {
            keeper,
            run,
            incarnation: 0,
            weights: BTreeMap::new(),
            network: None,
            saves: 0,
            owed: Vec::new(),
            owed_moves: Vec::new(),
            moved: BTreeSet::new(),
            learned: BTreeSet::new(),
            run_written: None,
            undelivered: BTreeSet::new(),
            nonces: Nonces::new(retention),
            opened,
            failing: false,
            failure_emitted: false,
            torn_tail,
            recalled: BTreeMap::new(),
        }
    }

    pub(crate) const fn keeper(&mut self) -> &mut Keeper {
        &mut self.keeper
    }

    pub(crate) const fn is_failing(&self) -> bool {
        self.failing
    }

    pub(crate) const fn take_torn_tail(&mut self) -> Option<StoreError> {
        self.torn_tail.take()
    }

    /// Goes on where another process stopped.
    pub(crate) fn resume(
        &mut self,
        incarnation: u64,
        weights: WeightsBySeed,
        network: Option<Network>,
        undelivered: BTreeSet<u64>,
        newest_nonce: Option<UnixTime>,
    ) {
        self.nonces.written(newest_nonce, self.opened);
        (self.incarnation, self.weights, self.network) = (incarnation, weights, network);
        self.undelivered = undelivered;
        self.keeper.pin(self.undelivered.first().copied());
    }

    /// A change that was committed before it was durable: it goes with the next batch.
    pub(crate) fn owe(&mut self, delta: &Delta, moves: Vec<(Transition, Entry)>) {
        let seeds = if moves.is_empty() { &mut self.learned } else { &mut self.moved };
        seeds.extend(delta.seeds.keys().cloned());
        for (moved, entry) in moves {
            self.owed_moves.push(moved);
            self.owed.push(entry);
        }
    }

    /// A command was answered `not_durable`. Its nonce is written with the next batch, so that a copy of the command that comes to a
    /// later process is rejected here too.
    pub(crate) fn owe_answer(&mut self, command_id: &CommandId, issued_at: UnixTime) {
        if self.owed.len() >= MOST_OWED {
            return;
        }
        self.owed.push(Entry::NonceSeen { command_id: command_id.clone(), issued_at });
        self.owed.push(Entry::Refused { command_id: command_id.to_string(), reason: "not_durable".to_owned() });
    }

    /// Whether something waits to be made durable.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty() || !self.moved.is_empty()
    }

    /// Makes a batch durable, with what is owed.
    ///
    /// # Errors
    /// [`CheckpointError`]: nothing may be acknowledged, and nothing is left behind.
    pub(crate) fn append<B: GraftBackend>(
        &mut self,
        batch: Batch<'_>,
        tensors: &mut Tensors<B>,
        now: Monotonic,
    ) -> Result<Written, CheckpointError> {
        let written = self.write(batch, tensors, now);
        self.failing = written.is_err();
        if self.failing {
            self.keeper.abandon();
        } else {
            self.failure_emitted = false;
        }
        written
    }

    fn write<B: GraftBackend>(
        &mut self,
        batch: Batch<'_>,
        tensors: &mut Tensors<B>,
        now: Monotonic,
    ) -> Result<Written, CheckpointError> {
        // Asked before anything is encoded.
        self.keeper.ready(now)?;
        let forgettable = self.nonces.forgettable(now);
        let watermark = self.nonces.watermark(batch.retention, forgettable);
        let step = batch.delta.run.as_ref().unwrap_or(&batch.state.run).step;
        let mut entries = Vec::new();
        if self.keeper.snapshots().next().is_none() {
            entries.push(self.snapshot(batch.state, watermark, now)?);
        }
        let reset = self.nonces.unwritten_reset(batch.retention);
        // Before the nonces of this batch, which are newer.
        entries.extend(reset.map(|at| Entry::WatermarkReset { at }));
        let mut weights = self.save(&batch.weights, tensors, now)?;
        let network = match batch.network {
            Some(Saved::Parts(parts)) => Some(Network { step, parts: self.put(parts, now)? }),
            Some(Saved::Epoch(network)) => Some(network),
            None => None,
        };
        let record = |seed: &SeedId| batch.delta.seeds.get(seed).or_else(|| batch.state.seeds.get(seed));
        let detached = self.weights.keys().filter(|seed| !has_graft(record(seed)));
        weights.extend(detached.map(|seed| (seed.clone(), None)));
        let undelivered = (batch.undelivered != self.undelivered).then(|| batch.undelivered.iter().copied().collect());
        let owed = self
            .moved
            .iter()
            .filter(|seed| !batch.delta.seeds.contains_key(seed) && !batch.delta.forgotten.contains(*seed));
        let mut delta = batch.delta.clone();
        delta.seeds.extend(owed.filter_map(|seed| batch.state.seeds.get(seed)).cloned());
        delta.run.get_or_insert_with(|| batch.state.run.clone());
        let incarnation = self.incarnation;
        let record = DeltaRecord { incarnation, at: now, delta, weights, network, watermark, undelivered };
        let blobs = record.weights.values().flatten().flat_map(Weights::blobs);
        let blobs = blobs.chain(record.network.iter().flat_map(Network::blobs)).collect();

        let newest_nonce = batch.entries.iter().chain(&self.owed).filter_map(|entry| match entry {
            Entry::NonceSeen { issued_at, .. } => Some(*issued_at),
            Entry::Accepted { .. }
            | Entry::Refused { .. }
            | Entry::Ordered { .. }
            | Entry::Moved { .. }
            | Entry::Delta { .. }
            | Entry::Snapshot { .. }
            | Entry::Epoch { .. }
            | Entry::EpochDropped { .. }
            | Entry::RolledBack { .. }
            | Entry::Telemetry { .. }
            | Entry::WatermarkReset { .. } => None,
        });
        let newest_nonce = newest_nonce.max();
        entries.extend(self.owed.iter().cloned());
        entries.extend(batch.entries);
        entries.push(Entry::Delta { bytes: encode(&record)?, blobs });
        let packets = batch.packets.len();
        // Compaction follows the append: what no sink has taken must not go with it.
        self.keeper.pin(batch.undelivered.first().copied());
        entries.extend(batch.packets.into_iter().map(|packet| Entry::Telemetry { packet }));
        let places = self.keeper.append(&entries, now)?;

        record.delta.seeds.keys().chain(&record.delta.forgotten).for_each(|seed| {
            self.moved.remove(seed);
            self.learned.remove(seed);
        });
        self.nonces.written(newest_nonce, now);
        self.nonces.reset_is_written(batch.retention);
        if let Some(since) = forgettable {
            // The watermark that stands for them is durable.
            self.keeper.retain_nonces_since(since);
            self.keeper.tick(now);
        }
        tensors.saved(&batch.weights);
        self.saves += record.weights.values().flatten().count();
        for (seed, weights) in record.weights {
            match weights {
                Some(weights) => drop(self.weights.insert(seed, weights)),
                None => drop(self.weights.remove(&seed)),
            }
        }
        self.network = record.network.or_else(|| self.network.take());
        self.run_written = record.delta.run;
        self.owed.clear();
        let packets: Vec<u64> = places.clone().skip((places.end - places.start) as usize - packets).collect();
        self.undelivered = batch.undelivered;
        self.undelivered.extend(&packets);
        Ok(Written { moves: mem::take(&mut self.owed_moves), packets, took: None })
    }

    /// Puts the weights of these seeds into the store, if they are not there yet.
    fn save<B: GraftBackend>(
        &mut self,
        seeds: &BTreeSet<SeedId>,
        tensors: &Tensors<B>,
        now: Monotonic,
    ) -> Result<BTreeMap<SeedId, Option<Weights>>, CheckpointError> {
        let unsaved: Vec<_> = seeds.iter().filter_map(|seed| Some((seed, tensors.unsaved(seed)?))).collect();
        let (mut bytes, mut manifests) = (Vec::new(), Vec::new());
        for (seed, plant) in unsaved {
            let (kernel, optimizer) = plant.to_bytes()?;
            bytes.extend([kernel, optimizer]);
            manifests.push((seed, plant.manifest(), plant.artifact()));
        }
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let digests = if slices.is_empty() { Vec::new() } else { self.keeper.put_all(&slices, now)? };
        let named = manifests.into_iter().zip(digests.chunks_exact(2)).map(|((seed, manifest, artifact), digests)| {
            (seed.clone(), Some(Weights { manifest, kernel: digests[0], optimizer: digests[1], artifact }))
        });
        Ok(named.collect())
    }

    /// Puts a trainer's parts into the store.
    fn put(&mut self, parts: Parts, now: Monotonic) -> Result<BTreeMap<String, Digest>, CheckpointError> {
        let bytes: Vec<&[u8]> = parts.values().map(Vec::as_slice).collect();
        let digests = self.keeper.put_all(&bytes, now)?;
        Ok(parts.into_keys().zip(digests).collect())
    }

    /// Whether the journal has what belongs to no seed as it was before.
    pub(crate) fn is_behind(&self, run: &RunState) -> bool {
        self.run_written.as_ref() != Some(run)
    }

    /// The seeds whose records the journal should have at the next checkpoint of what has been learned.
    pub(crate) fn take_learned(&mut self) -> BTreeSet<SeedId> {
        mem::take(&mut self.learned)
    }

    fn snapshot(&self, state: &State, watermark: Option<UnixTime>, now: Monotonic) -> Result<Entry, CheckpointError> {
        let record = SnapshotRecord {
            run: self.run.clone(),
            incarnation: self.incarnation,
            at: now,
            state: state.clone(),
            weights: self.weights_in(state),
            network: self.network.clone(),
            watermark,
            undelivered: self.undelivered.iter().copied().collect(),
        };
        let blobs = record.weights.values().flat_map(Weights::blobs);
        let blobs = blobs.chain(record.network.iter().flat_map(Network::blobs)).collect();
        Ok(Entry::Snapshot { bytes: encode(&record)?, blobs })
    }

    /// The weights of the seeds that have a kernel in this state. A cull that is not in the journal yet has left its weights here.
    fn weights_in(&self, state: &State) -> WeightsBySeed {
        let grafted = self.weights.iter().filter(|(seed, _)| has_graft(state.seeds.get(*seed)));
        grafted.map(|(seed, weights)| (seed.clone(), weights.clone())).collect()
    }

    /// Whether so much was written since the newest snapshot that it is time for another.
    pub(crate) const fn snapshot_due(&self) -> bool {
        self.saves >= MOST_SAVES || self.keeper.snapshot_due()
    }

    /// Writes the whole state, so that older records can go.
    pub(crate) fn write_snapshot(
        &mut self,
        state: &State,
        retention: Retention,
        now: Monotonic,
    ) -> Result<(), CheckpointError> {
        let watermark = self.nonces.watermark(retention, None);
        let Entry::Snapshot { bytes, blobs } = self.snapshot(state, watermark, now)? else { return Ok(()) };
        self.keeper.snapshot(bytes, blobs, now)?;
        self.saves = 0;
        Ok(())
    }

    /// Stores a checkpoint that a rollback can go back to.
    pub(crate) fn store_epoch<B: GraftBackend>(
        &mut self,
        state: &State,
        parts: Parts,
        tensors: &mut Tensors<B>,
        keep: usize,
        now: Monotonic,
    ) -> Result<(), CheckpointError> {
        self.keeper.ready(now)?;
        let changed: BTreeSet<SeedId> = tensors.changed().cloned().collect();
        let saved = self.save(&changed, tensors, now)?;
        let mut weights = self.weights_in(state);
        weights.extend(saved.into_iter().filter_map(|(seed, weights)| Some((seed, weights?))));
        let record = EpochRecord { at: now, state: state.clone(), weights, parts: self.put(parts, now)? };
        let named = record.weights.values().flat_map(Weights::blobs);
        let blobs: Vec<Digest> = named.chain(record.parts.values().copied()).collect();
        let (epoch, step) = (state.run.epoch, state.run.step);
        let mut held = self.epochs();
        held.retain(|held| *held != epoch);
        let surplus = (held.len() + 1).saturating_sub(keep.max(1));
        let dropped = held.drain(..surplus.min(held.len())).map(|epoch| Entry::EpochDropped { epoch });
        let stored = Entry::Epoch { epoch, step, bytes: encode(&record)?, blobs };
        let entries: Vec<Entry> = dropped.chain([stored]).collect();
        let appended = self.keeper.append(&entries, now);
        self.failing = appended.is_err();
        appended.inspect_err(|_| self.keeper.abandon())?;
        Ok(())
    }

    /// The network that was saved last, but for those of epochs.
    pub(crate) const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// The epochs that the store has checkpoints of, oldest first.
    pub(crate) fn epochs(&self) -> Vec<u64> {
        self.keeper.epochs().map(|held| held.epoch).collect()
    }

    /// The record of the checkpoint of an epoch.
    pub(crate) fn epoch(&self, epoch: u64) -> Option<Vec<u8>> {
        self.keeper.epochs().find(|held| held.epoch == epoch).map(|held| held.bytes.clone())
    }

    /// The kernel and optimizer of a seed, out of the store.
    pub(crate) fn load<B: GraftBackend>(
        &mut self,
        weights: &Weights,
        settings: &crate::Settings,
        device: &B::Device,
    ) -> Result<Plant<B>, CheckpointError> {
        let (kernel, optimizer) = (self.keeper.get(&weights.kernel)?, self.keeper.get(&weights.optimizer)?);
        Ok(Plant::from_bytes(weights, &kernel, optimizer, settings, device)?)
    }

    /// The packet at this place of the journal.
    pub(crate) fn recall(&mut self, place: u64) -> Option<TelemetryPacket> {
        if !self.recalled.contains_key(&place) {
            let recalled = &mut self.recalled;
            let read = self.keeper.visit(place..u64::MAX, &mut |record| {
                if let Entry::Telemetry { packet } = record.entry {
                    recalled.insert(record.sequence, packet);
                }
                if recalled.len() < MOST_RECALLED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            read.ok()?;
        }
        TelemetryPacket::decode(self.recalled.remove(&place)?.as_slice()).ok()
    }

    pub(crate) fn forget_recalled(&mut self) {
        self.recalled.clear();
    }

    /// Puts packets into the journal that no sink takes, so that they outlive the process. Returns the places of the first so
    /// many; the rest is for the next time.
    pub(crate) fn spill(
        &mut self,
        packets: &[Arc<TelemetryPacket>],
        now: Monotonic,
    ) -> Result<BTreeMap<String, u64>, CheckpointError> {
        self.keeper.ready(now)?;
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
        let places = self.keeper.append(&entries, now)?;
        self.undelivered.extend(places.clone());
        Ok(ids.into_iter().zip(places).collect())
    }

    /// Whether this failure is the first since something could be written: then it is to be emitted.
    pub(crate) const fn first_failure(&mut self) -> bool {
        !mem::replace(&mut self.failure_emitted, true)
    }
}

fn has_graft(seed: Option<&Seed>) -> bool {
    seed.is_some_and(|seed| seed.stage.graft().is_some())
}
