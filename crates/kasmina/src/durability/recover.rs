//! Coming back from a journal.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::ParamId;
use kasmina_leyline::{CommandId, UnixTime, v1::TelemetryPacket};
use kasmina_rollback::{CheckpointId, Entry, Record, StoreError};
use prost::Message;

use super::{Blobs, CheckpointError, decode};
use crate::{BuildError, GraftBackend, SeedManager, SeedManagerBuilder};

/// What [`SeedManagerBuilder::recover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How often the run has come back; 0 where the store was empty and the run begins.
    pub incarnation: u64,
    /// Records in the journal.
    pub records: usize,
    /// Seeds that are registered again, in the stages that had been acknowledged.
    pub seeds: usize,
    /// Seeds that have their kernels, weights and optimizer states again.
    pub grafted: usize,
    /// The step of the checkpoint that their weights are of.
    pub step: u64,
    /// Commands that would be replays.
    pub nonces: usize,
    /// Critical packets that no sink had taken, which are on their way again.
    pub undelivered: usize,
    /// The epochs that a rollback can go back to, oldest first.
    pub epochs: Vec<u64>,
    /// The epoch that a command had said to go back to, where its checkpoint was in memory alone: the run goes on from where it is.
    pub abandoned_rollback: Option<u64>,
    /// What was cut off the end of the journal when it was opened, and where: a batch that was never acknowledged, or damage.
    pub torn_tail: Option<StoreError>,
}

/// What the journal says, in order.
#[derive(Default)]
struct Reading {
    records: usize,
    last: u64,
    oldest: Option<u64>,
    /// The last checkpoint, and its record.
    checkpoint: Option<(CheckpointId, u64)>,
    nonces: Vec<(CommandId, UnixTime)>,
    /// Critical packets by their ids: the last that was written of each.
    packets: BTreeMap<String, u64>,
}

impl Reading {
    fn of(records: Vec<Record>) -> Self {
        let mut reading = Self { records: records.len(), ..Self::default() };
        for Record { sequence, entry } in records {
            reading.last = sequence;
            reading.oldest.get_or_insert(sequence);
            match entry {
                Entry::Checkpoint { id } => reading.checkpoint = Some((id, sequence)),
                Entry::NonceSeen { command_id, issued_at } => reading.nonces.push((command_id, issued_at)),
                Entry::Telemetry { packet } => {
                    // What cannot be read goes by its place, and is told as such when it comes to that.
                    let id = TelemetryPacket::decode(packet.as_slice()).map(|packet| packet.packet_id);
                    reading.packets.insert(id.unwrap_or_else(|_| sequence.to_string()), sequence);
                }
                Entry::CommandAccepted { .. }
                | Entry::CommandRefused { .. }
                | Entry::Transition { .. }
                | Entry::RolledBack { .. } => {}
            }
        }
        reading
    }
}

impl SeedManagerBuilder {
    /// The manager as its store says that it was: every seed in the stage that had been acknowledged, with its kernel, weights,
    /// optimizer state and alpha as of the last checkpoint; embargoes with what was left of them then; breakers, violations and
    /// the steps of FINE_TUNE; and no command that was answered before is obeyed again. Over an empty store a run begins.
    ///
    /// The time that the process was gone counts for nothing: no embargo ends early, and a breaker that stood open stays open for
    /// another timeout. The host is the trainer's: it restores its own, or has
    /// [`restore_host`](SeedManager::restore_host) do it; then it calls [`attach_host`](SeedManager::attach_host) as ever.
    ///
    /// ```
    /// use burn::backend::{Autodiff, Flex};
    /// use kasmina::{SeedManager, leyline::{SeedId, SlotId, TrainingRunId, v1::SeedLifecycleStage}, rollback::Store};
    ///
    /// type B = Autodiff<Flex>;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let open = || -> Result<_, Box<dyn std::error::Error>> {
    ///     let builder = SeedManager::<B>::builder(TrainingRunId::new("run-7")?);
    ///     Ok(builder.store(Store::open(directory.path())?).recover::<B>(&Default::default())?)
    /// };
    /// let seed = SeedId::new("seed-1")?;
    /// let (mut manager, found) = open()?;
    /// assert_eq!(found.incarnation, 0);
    /// manager.register_seed(seed.clone(), SlotId::new("mid")?)?;
    /// drop(manager); // or kill -9
    ///
    /// let (manager, found) = open()?;
    /// assert_eq!((found.incarnation, found.seeds), (1, 1));
    /// assert_eq!(manager.stage(&seed), Some(SeedLifecycleStage::SeedStageDormant));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BuildError`]: the store cannot be read, is damaged (where, says the error), or is of another run.
    pub fn recover<B: GraftBackend>(self, device: &B::Device) -> Result<(SeedManager<B>, Recovered), BuildError> {
        let mut manager = self.assemble::<B>(device)?;
        let recovered = manager.take_up()?;
        Ok((manager, recovered))
    }
}

impl<B: GraftBackend> SeedManager<B> {
    /// How many records there are; none where no journal is wired.
    pub(crate) fn records(&mut self) -> Result<usize, CheckpointError> {
        let Some(durability) = &mut self.durability else { return Ok(0) };
        match durability.journal.read(0) {
            Ok(records) => Ok(records.len()),
            Err(StoreError::NotWired { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn take_up(&mut self) -> Result<Recovered, CheckpointError> {
        let now = self.clock.monotonic();
        let Some(durability) = &mut self.durability else { return Ok(Recovered::default()) };
        let torn_tail = durability.torn_tail.take();
        let reading = Reading::of(durability.journal.read(0)?);
        if reading.records == 0 {
            return Ok(Recovered { torn_tail, ..Recovered::default() });
        }
        durability.sequence = reading.last;
        durability.oldest = reading.oldest.unwrap_or(1);
        durability.batches.push_back((durability.oldest, now));

        let mut undelivered: BTreeSet<u64> = reading.packets.into_values().collect();
        let mut watermark = None;
        if let Some((id, place)) = reading.checkpoint {
            let blobs: Blobs = durability.checkpoints.load(&id)?.blobs;
            let (state, book) = decode::<B>(&blobs, &self.settings, &self.device, now)?;
            if book.run != self.run.as_str() {
                return Err(CheckpointError::WrongRun { expected: self.run.to_string(), got: book.run });
            }
            watermark = book.watermark();
            undelivered.retain(|packet| *packet > place || book.undelivered.contains(packet));
            (durability.current, durability.kept) = (vec![id], book.kept);
            durability.incarnation = book.incarnation;
            self.put_back(state);
        }
        let epochs = self.epochs();
        let recovered = Recovered {
            torn_tail,
            abandoned_rollback: self.commanded.take_if(|epoch| !epochs.contains(epoch)),
            incarnation: self.durability.as_ref().map_or(0, |durability| durability.incarnation) + 1,
            records: reading.records,
            seeds: self.seeds.len(),
            grafted: self.seeds.values().filter(|seed| seed.attached.is_some()).count(),
            step: self.step,
            nonces: reading.nonces.len(),
            undelivered: undelivered.len(),
            epochs,
        };
        if let Some(durability) = &mut self.durability {
            durability.incarnation = recovered.incarnation;
            // What was saved and never acknowledged is in the way of nobody, but takes room.
            let _ = durability.sweep();
        }
        self.verifier.restore(reading.nonces, watermark, now);
        self.last_verified = now;
        let undelivered: Vec<u64> = undelivered.into_iter().collect();
        self.reporter.resume(&recovered.incarnation.to_string(), &undelivered);
        self.reporter.recovered(&recovered);
        if let Err(error) = self.commit(true) {
            // The next process will not know of this one: chance has to keep their packets apart.
            let chance = ParamId::new().val();
            self.reporter.resume(&format!("{}-{chance:x}", recovered.incarnation), &[]);
            self.tell_failing(&error);
        }
        Ok(recovered)
    }
}
