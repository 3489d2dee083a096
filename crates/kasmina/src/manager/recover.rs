//! Coming back: the state that a journal tells, with the weights that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use kasmina_blending::GraftBackend;
use kasmina_commands::BreakerName;
use kasmina_engine::State;
use kasmina_leyline::{CommandId, Monotonic, SeedId, UnixTime, v1::TelemetryPacket};
use kasmina_rollback::{Entry, Record, StoreError};
use kasmina_safety::BreakerSettings;
use prost::Message;

use crate::{
    error::CheckpointError,
    events,
    manager::SeedManager,
    records::{DeltaRecord, Network, SnapshotRecord, Weights, WeightsBySeed, decode},
    report::Recovered,
    tensors::{Plant, Planted},
};

/// What the journal tells, in order.
struct Reading {
    breakers: [(BreakerName, BreakerSettings); 4],
    records: usize,
    run: Option<String>,
    incarnation: u64,
    state: State,
    /// The clock of the process that wrote the last record.
    at: Monotonic,
    weights: WeightsBySeed,
    /// The network that was saved last, but for those of epochs.
    network: Option<Network>,
    /// The weights before the newest, of seeds that have had two.
    earlier: WeightsBySeed,
    watermark: Option<UnixTime>,
    nonces: Vec<(CommandId, UnixTime)>,
    /// Critical packets by their ids: the last that was written of each.
    packets: BTreeMap<String, u64>,
    undelivered: BTreeSet<u64>,
    /// The last record that said which packets are undelivered.
    undelivered_at: u64,
    /// The newest snapshot.
    snapshot: u64,
    skipped: Option<(u64, CheckpointError)>,
}

impl Reading {
    fn new(breakers: [(BreakerName, BreakerSettings); 4]) -> Self {
        Self {
            breakers,
            records: 0,
            run: None,
            incarnation: 0,
            state: State::default(),
            at: Monotonic::ORIGIN,
            weights: BTreeMap::new(),
            network: None,
            earlier: BTreeMap::new(),
            watermark: None,
            nonces: Vec::new(),
            packets: BTreeMap::new(),
            undelivered: BTreeSet::new(),
            undelivered_at: 0,
            snapshot: 0,
            skipped: None,
        }
    }

    fn take(&mut self, Record { sequence, entry }: Record) -> Result<(), CheckpointError> {
        self.records += 1;
        match entry {
            Entry::NonceSeen { command_id, issued_at } => self.nonces.push((command_id, issued_at)),
            Entry::Snapshot { bytes, .. } => match decode(&bytes) {
                Ok(record) => self.snapshot(sequence, record),
                Err(error @ CheckpointError::Malformed { .. }) => self.skipped = Some((sequence, error)),
                Err(error) => return Err(error),
            },
            Entry::Delta { bytes, .. } => self.delta(sequence, decode(&bytes)?),
            Entry::Telemetry { packet } => {
                // A packet that cannot be decoded goes by its place; the sink's error names it.
                let id = TelemetryPacket::decode(packet.as_slice()).map(|packet| packet.packet_id);
                self.packets.insert(id.unwrap_or_else(|_| sequence.to_string()), sequence);
            }
            Entry::WatermarkReset { at } => {
                self.watermark = Some(at);
                // When these are forgotten, they must not raise it again.
                self.nonces.iter_mut().for_each(|(_, issued_at)| *issued_at = at.min(*issued_at));
            }
            Entry::Accepted { .. }
            | Entry::Refused { .. }
            | Entry::Ordered { .. }
            | Entry::Moved { .. }
            | Entry::Epoch { .. }
            | Entry::EpochDropped { .. }
            | Entry::RolledBack { .. } => {}
        }
        Ok(())
    }

    fn snapshot(&mut self, sequence: u64, record: SnapshotRecord) {
        let SnapshotRecord { run, incarnation, at, state, weights, network, watermark, undelivered } = record;
        for (seed, before) in std::mem::replace(&mut self.weights, weights) {
            if self.weights.get(&seed).is_some_and(|now| now.blobs() != before.blobs()) {
                self.earlier.insert(seed, before);
            }
        }
        (self.run, self.incarnation, self.at, self.state) = (Some(run), incarnation, at, state);
        self.network = network;
        self.snapshot = sequence;
        (self.watermark, self.undelivered, self.undelivered_at) =
            (watermark, undelivered.into_iter().collect(), sequence);
    }

    fn delta(&mut self, sequence: u64, record: DeltaRecord) {
        if record.incarnation != self.incarnation {
            // Another process went on by a clock of its own, and the snapshot that it began with is not there.
            self.state = std::mem::take(&mut self.state).rebase(self.at, record.at, self.breakers);
            self.incarnation = record.incarnation;
        }
        self.state.apply(record.delta);
        (self.at, self.watermark) = (record.at, record.watermark);
        self.network = record.network.or_else(|| self.network.take());
        for (seed, weights) in record.weights {
            let before = match weights {
                Some(weights) => self.weights.insert(seed.clone(), weights),
                None => self.weights.remove(&seed),
            };
            match (before, self.weights.get(&seed)) {
                (Some(before), Some(now)) if before.blobs() == now.blobs() => {}
                (Some(before), Some(_)) => drop(self.earlier.insert(seed, before)),
                (None, _) | (_, None) => drop(self.earlier.remove(&seed)),
            }
        }
        if let Some(undelivered) = record.undelivered {
            (self.undelivered, self.undelivered_at) = (undelivered.into_iter().collect(), sequence);
        }
    }

    /// Critical packets that no sink had taken.
    fn undelivered(&self) -> BTreeSet<u64> {
        let open =
            self.packets.values().filter(|place| **place > self.undelivered_at || self.undelivered.contains(place));
        open.copied().collect()
    }
}

impl<B: GraftBackend> SeedManager<B> {
    /// How many records the journal holds; none if no journal is wired up.
    pub(crate) fn records(&mut self) -> Result<usize, CheckpointError> {
        let Some(durable) = &mut self.durable else { return Ok(0) };
        match durable.keeper().status() {
            Ok(held) => Ok(usize::try_from(held.end - held.start).unwrap_or(usize::MAX)),
            Err(StoreError::NotWired { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn recover(&mut self) -> Result<Recovered, CheckpointError> {
        let (started, breakers) = (self.clock.monotonic(), self.engine.settings().breakers());
        let Some(durable) = &mut self.durable else { return Ok(Recovered::default()) };
        let torn_tail = durable.take_torn_tail();
        let (mut reading, mut failed) = (Reading::new(breakers), None);
        durable.keeper().visit(0..u64::MAX, &mut |record| match reading.take(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if reading.records == 0 {
            return Ok(Recovered { torn_tail, ..Recovered::default() });
        }
        let skipped = reading.skipped.take();
        if let Some((_, error)) = skipped.clone().filter(|_| reading.run.is_none()) {
            return Err(error);
        }
        let expected = &self.engine.settings().run;
        if let Some(got) = reading.run.take().filter(|run| *run != expected.as_str()) {
            return Err(CheckpointError::WrongRun { expected: expected.to_string(), got });
        }
        let undelivered = reading.undelivered();
        let mut recovered = Recovered {
            incarnation: reading.incarnation + 1,
            records: reading.records,
            seeds: reading.state.seeds.len(),
            grafted: reading.state.seeds.values().filter(|seed| seed.stage.graft().is_some()).count(),
            step: reading.state.run.step,
            nonces: reading.nonces.len(),
            undelivered: undelivered.len(),
            skipped_snapshot: skipped.map(|(place, _)| place).filter(|place| *place > reading.snapshot),
            torn_tail,
            ..Recovered::default()
        };
        self.replant(&mut reading, &mut recovered)?;
        self.group.resume(reading.at);
        // The clock of a group goes on over all processes.
        let now = if self.group.is_alone() { started } else { reading.at };
        self.engine.restore(std::mem::take(&mut reading.state), reading.at, now);
        if let Some(durable) = &mut self.durable {
            let newest_nonce = reading.nonces.iter().map(|(_, issued_at)| *issued_at).max();
            durable.resume(recovered.incarnation, reading.weights, reading.network, undelivered.clone(), newest_nonce);
        }
        self.ask_again = true;
        recovered.epochs = self.epochs();
        // Seeds have grown on some model, also if the disk refused its first checkpoint.
        self.unrestored = self.has_network() || recovered.step > 0 || recovered.grafted > 0;
        self.verifier.restore(reading.nonces, reading.watermark, now);
        self.reporter.resume(&recovered.incarnation.to_string(), &undelivered);
        if let Some(epoch) = self.rollback_commanded().filter(|epoch| !recovered.epochs.contains(epoch)) {
            self.act(kasmina_engine::Input::RollbackAbandoned);
            recovered.abandoned_rollback = Some(epoch);
        }
        self.reporter.emit(None, events::recovered(&recovered));
        self.begin_incarnation(&recovered, now);
        Ok(recovered)
    }

    /// Puts back the kernels of all seeds that have one.
    fn replant(&mut self, reading: &mut Reading, recovered: &mut Recovered) -> Result<(), CheckpointError> {
        let mut planted = Planted::new();
        let grafted = reading.state.seeds.values().filter(|seed| seed.stage.graft().is_some());
        for id in grafted.map(|seed| seed.id.clone()).collect::<Vec<_>>() {
            let missing = || CheckpointError::Missing { blob: format!("weights of {id}") };
            let newest = reading.weights.get(&id).ok_or_else(missing)?.clone();
            let plant = match (self.load(&newest), reading.earlier.get(&id).cloned()) {
                (Err(error), Some(earlier)) => self.load_earlier(&id, earlier, error, reading, recovered)?,
                (loaded, _) => loaded?,
            };
            planted.insert(id, plant);
        }
        self.tensors.replant(planted, true)?;
        Ok(())
    }

    /// The weights before the newest, which are damaged. If these are too, the error is that of the newest.
    fn load_earlier(
        &mut self,
        id: &SeedId,
        earlier: Weights,
        damaged: CheckpointError,
        reading: &mut Reading,
        recovered: &mut Recovered,
    ) -> Result<Plant<B>, CheckpointError> {
        let plant = self.load(&earlier).map_err(|_| damaged)?;
        reading.weights.insert(id.clone(), earlier);
        recovered.older_weights.insert(id.clone());
        Ok(plant)
    }

    /// Writes down that another process works on the run now.
    fn begin_incarnation(&mut self, recovered: &Recovered, now: Monotonic) {
        let retention = self.verifier.retention();
        let Some(durable) = &mut self.durable else { return };
        if let Err(error) = durable.write_snapshot(self.engine.state(), retention, now) {
            // The next process will not know of this one: a random number has to keep their packets apart.
            let chance = burn::module::ParamId::new().val();
            self.reporter.resume(&format!("{}-{chance:x}", recovered.incarnation), &BTreeSet::new());
            self.emit_failure(&error);
        }
    }
}
