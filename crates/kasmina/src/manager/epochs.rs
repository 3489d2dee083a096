//! Going back: to a checkpoint of an epoch with everything, and what of the trainer goes back with it.

use std::{any::Any, collections::BTreeMap};

use burn::optim::Optimizer;
use kasmina_blending::GraftBackend;
use kasmina_commands::Order;
use kasmina_engine::{Input, State};
use kasmina_grown::{Grown, HostModule};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage};
use kasmina_rollback::{Digest, Entry, FAST_ROLLBACK, FULL_ROLLBACK, Sla, Timing};

use super::door::Batch;
use crate::{
    durable::Saved,
    error::{CheckpointError, ModelError},
    events,
    manager::SeedManager,
    records::{EpochRecord, Network, Weights, decode},
    tensors::{Plant, Planted},
    trainer_state::{ModelState, Parts, TrainerState},
};

/// A checkpoint in memory.
pub(super) struct InMemory<B: GraftBackend> {
    state: State,
    planted: Planted<B>,
    /// A [`TrainerState`], of whatever type the trainer has.
    trainer: Box<dyn Any + Send>,
}

impl<B: GraftBackend> InMemory<B> {
    pub(super) const fn epoch(&self) -> u64 {
        self.state.run.epoch
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) const fn planted(&self) -> &Planted<B> {
        &self.planted
    }
}

/// What a rollback did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// The epoch of the checkpoint.
    pub epoch: u64,
    /// The last step before the checkpoint: the next batch is the one that came after it.
    pub step: u64,
    /// The seeds whose stages have changed: before and after.
    pub seeds: BTreeMap<SeedId, (SeedLifecycleStage, SeedLifecycleStage)>,
    /// How long it took, against 500 ms for a checkpoint in memory and 12 s for one in the store.
    pub timing: Timing,
}

/// A checkpoint that was looked up: the state, the kernels, the trainer's copy, and how long it may take to go there.
struct Found<B: GraftBackend, T> {
    state: State,
    planted: Planted<B>,
    trainer: T,
    /// The trainer's parts, if they are in the store.
    network: Option<Network>,
    sla: Sla,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Takes a checkpoint of everything, under the number of epochs that have ended: in memory, and in the store if there is one. A
    /// rollback to this epoch goes back to it. `rollback.keep_in_memory` and `rollback.keep_in_store` bound how many are kept; the
    /// oldest are dropped first.
    ///
    /// The copy in memory is copy-on-write; the one in the store writes the weights that have changed.
    ///
    /// # Errors
    /// [`CheckpointError`]: it is not in the store. It is in memory all the same, unless a rollback was ordered
    /// ([`CheckpointError::RollbackPending`]): what is about to be undone must not push out what it goes back to.
    pub fn checkpoint<H, O>(&mut self, model: &Grown<B, H>, optimizer: &O) -> Result<(), CheckpointError>
    where
        H: HostModule<B> + 'static,
        O: Optimizer<Grown<B, H>, B> + 'static,
    {
        self.check_model(model)?;
        self.checkpoint_with(&ModelState::<B, H, O>::of(model, optimizer, self.tensors.device()))
    }

    /// As [`checkpoint`](Self::checkpoint), for a trainer with a state of its own.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_with(&mut self, trainer: &impl TrainerState) -> Result<(), CheckpointError> {
        if let Some(epoch) = self.rollback_commanded() {
            return Err(CheckpointError::RollbackPending { epoch });
        }
        if self.unrestored {
            return Err(ModelError::NotRestored.into());
        }
        let (state, planted) = (self.state().clone(), self.tensors.planted());
        let (epoch, step) = (state.run.epoch, state.run.step);
        self.checkpoints.retain(|held| held.epoch() != epoch);
        self.checkpoints.push(InMemory { state, planted, trainer: Box::new(trainer.snapshot()) });
        let surplus = self.checkpoints.len().saturating_sub(self.settings.rollback.keep_in_memory);
        self.checkpoints.drain(..surplus);
        let stored = self.settings.rollback.keep_in_store > 0 && self.durable.is_some();
        let outcome = if stored { self.store_checkpoint(trainer) } else { Ok(()) };
        self.reporter.emit(None, events::rollback_ready(epoch, step, stored && outcome.is_ok()));
        outcome
    }

    fn store_checkpoint(&mut self, trainer: &impl TrainerState) -> Result<(), CheckpointError> {
        // The weights that the checkpoint names are those of the records before it.
        self.write_committed(true);
        let (parts, now) = (trainer.to_parts()?, self.now());
        let keep = self.settings.rollback.keep_in_store;
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let stored = durable.store_epoch(self.engine.state(), parts, &mut self.tensors, keep, now);
        stored.inspect_err(|error| self.emit_failure(error))
    }

    /// Does the rollback that was ordered: the model, its optimizer, every seed and the count of steps are those of the checkpoint,
    /// and the run goes on as it went on then, bit for bit, given the same batches. Nonces, breakers and telemetry do not go back,
    /// and a seed that was registered since is DORMANT. Until this is done no batch is trained.
    ///
    /// # Errors
    /// [`CheckpointError`]; everything is as it was. If the checkpoint cannot be had any more, another epoch can be ordered, or this
    /// one [given up](Self::abandon_rollback).
    pub fn roll_back<H, O>(&mut self, model: &mut Grown<B, H>, optimizer: &mut O) -> Result<RolledBack, CheckpointError>
    where
        H: HostModule<B> + 'static,
        O: Optimizer<Grown<B, H>, B> + 'static,
    {
        let mut trainer = ModelState::<B, H, O>::of(model, optimizer, self.tensors.device());
        let rolled_back = self.roll_back_with(&mut trainer)?;
        (*model, *optimizer) = (trainer.model, trainer.optimizer);
        self.tensors.follow(model);
        self.follow(model);
        Ok(rolled_back)
    }

    /// As [`roll_back`](Self::roll_back), for a trainer with a state of its own.
    ///
    /// # Errors
    /// As [`roll_back`](Self::roll_back).
    pub fn roll_back_with<T: TrainerState>(&mut self, trainer: &mut T) -> Result<RolledBack, CheckpointError> {
        let epoch = self.rollback_commanded().ok_or(CheckpointError::NotCommanded)?;
        let started = self.clock.monotonic();
        let Found { state, planted, trainer: back, network, sla } = self.find(epoch, trainer)?;
        let before: BTreeMap<_, _> =
            self.state().seeds.values().map(|seed| (seed.id.clone(), seed.stage.leyline())).collect();

        let mut batch = Batch::default();
        self.decide(Input::RolledBack(epoch, Box::new(state)), &mut batch)
            .map_err(|_| CheckpointError::NotCommanded)?;
        batch.entries.push(Entry::RolledBack { seed_id: None, epoch });
        // What came after the checkpoint has not happened.
        let later = self.epochs_in_store().into_iter().filter(|held| *held > epoch);
        batch.entries.extend(later.map(|epoch| Entry::EpochDropped { epoch }));
        batch.weights = planted.keys().cloned().collect();
        // From now on, this is the network that a restart comes back with.
        batch.network = match network {
            Some(network) => Some(Saved::Epoch(network)),
            None if self.durable.is_some() => Some(Saved::Parts(back.to_parts()?)),
            None => None,
        };
        let replaced = self.tensors.replant(planted, false)?;
        if let Err(error) = self.conclude(batch) {
            let _ = self.tensors.replant(replaced, false);
            return Err(error);
        }
        self.checkpoints.retain(|held| held.epoch() <= epoch);
        // A kernel that has arrived since is waited for again.
        self.ask_again = true;
        self.unrestored = false;
        self.joined.clear();
        self.group.compared = false;
        self.unsettled = None;
        if !self.group.is_alone() {
            // Another worker, which was lost, does not know.
            self.flush_failed = false;
        }
        *trainer = back;
        let timing = sla.judge(started, self.clock.monotonic());
        let step = self.step();
        self.reporter.write(|to| events::rolled_back(to, None, epoch, Some(step), &timing));
        let mut seeds = BTreeMap::new();
        for seed in self.state().seeds.values() {
            let (was, is) = (before.get(&seed.id).copied().unwrap_or_default(), seed.stage.leyline());
            if was != is {
                seeds.insert(seed.id.clone(), (was, is));
            }
        }
        Ok(RolledBack { epoch, step: self.step(), seeds, timing })
    }

    /// Gives up the rollback that was ordered, for example because its checkpoint cannot be had: the run goes on from where it is.
    /// Returns the epoch that was given up; `None` if no rollback was ordered.
    ///
    /// # Errors
    /// [`CheckpointError`]: it could not be made durable, and the rollback is still to be done.
    pub fn abandon_rollback(&mut self) -> Result<Option<u64>, CheckpointError> {
        let Some(epoch) = self.rollback_commanded() else { return Ok(None) };
        let mut batch = Batch::default();
        let _ = self.decide(Input::RollbackAbandoned, &mut batch);
        self.conclude(batch)?;
        Ok(Some(epoch))
    }

    /// Goes back to an epoch, or to the newest that there is: orders the rollback and does it. No signed command is needed: owning
    /// the manager is the authority.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownEpoch`] if there is no such checkpoint; otherwise as [`roll_back`](Self::roll_back). Then the rollback is
    /// ordered, and can be [given up](Self::abandon_rollback).
    pub fn roll_back_to<H, O>(
        &mut self,
        epoch: Option<u64>,
        model: &mut Grown<B, H>,
        optimizer: &mut O,
    ) -> Result<RolledBack, CheckpointError>
    where
        H: HostModule<B> + 'static,
        O: Optimizer<Grown<B, H>, B> + 'static,
    {
        let held = self.epochs();
        let found = epoch.or_else(|| held.last().copied()).filter(|epoch| held.contains(epoch));
        let epoch = found.ok_or_else(|| CheckpointError::UnknownEpoch { epoch: epoch.unwrap_or_default(), held })?;
        let mut batch = Batch::default();
        // The epoch was looked up, and this order is taken whatever was ordered before.
        let _ = self.decide_order(Order::Rollback { epoch }, &mut batch);
        self.conclude(batch)?;
        self.roll_back(model, optimizer)
    }

    /// The epochs that a rollback can go back to, oldest first.
    #[must_use]
    pub fn epochs(&self) -> Vec<u64> {
        let mut epochs = self.epochs_in_store();
        epochs.extend(self.checkpoints.iter().map(InMemory::epoch));
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The epoch of a rollback that was ordered and that [`roll_back`](Self::roll_back) has not done yet.
    #[must_use]
    pub const fn rollback_commanded(&self) -> Option<u64> {
        self.engine.state().run.rollback
    }

    fn epochs_in_store(&self) -> Vec<u64> {
        self.durable.as_ref().map_or_else(Vec::new, crate::durable::Durable::epochs)
    }

    fn find<T: TrainerState>(&mut self, epoch: u64, trainer: &T) -> Result<Found<B, T>, CheckpointError> {
        let held = self.checkpoints.iter().rev().find(|held| held.epoch() == epoch);
        if let Some((held, copy)) = held.and_then(|held| Some((held, held.trainer.downcast_ref::<T>()?))) {
            let (state, planted, trainer) = (held.state.clone(), held.planted.clone(), copy.snapshot());
            let stored = self.epochs_in_store().contains(&epoch);
            let record = stored.then(|| self.stored_epoch(epoch)).transpose()?;
            // If the last checkpoint of the epoch could not be stored, the store has one from before it.
            let same = |record: &EpochRecord| {
                (record.state.run.step, &record.state.run.fossils) == (state.run.step, &state.run.fossils)
            };
            let network = record.filter(same).map(EpochRecord::into_network);
            return Ok(Found { state, planted, trainer, network, sla: FAST_ROLLBACK });
        }
        if held.is_some() && !self.epochs_in_store().contains(&epoch) {
            return Err(CheckpointError::Missing {
                blob: format!("checkpoint of epoch {epoch} of this type of trainer"),
            });
        }
        let record = self.stored_epoch(epoch)?;
        let mut back = trainer.snapshot();
        back.take_parts(&self.read_parts(&record.parts)?)?;
        let mut planted = Planted::new();
        for (seed, weights) in &record.weights {
            planted.insert(seed.clone(), self.load(weights)?);
        }
        let (state, network) = (record.state.clone(), Some(record.into_network()));
        Ok(Found { state, planted, trainer: back, network, sla: FULL_ROLLBACK })
    }

    /// The checkpoint of an epoch, out of the store, by this process's clock.
    pub(super) fn stored_epoch(&mut self, epoch: u64) -> Result<EpochRecord, CheckpointError> {
        let (held, now) = (self.epochs(), self.now());
        let found = self.durable.as_ref().and_then(|durable| durable.epoch(epoch));
        let mut record: EpochRecord = decode(&found.ok_or(CheckpointError::UnknownEpoch { epoch, held })?)?;
        if self.group.is_alone() {
            record.state = record.state.rebase(record.at, now, self.engine.settings().breakers());
        }
        Ok(record)
    }

    pub(super) fn load(&mut self, weights: &Weights) -> Result<Plant<B>, CheckpointError> {
        let missing = || CheckpointError::Missing { blob: "a store".to_owned() };
        let durable = self.durable.as_mut().ok_or_else(missing)?;
        durable.load(weights, &self.settings, self.tensors.device())
    }

    /// A trainer's parts out of the store.
    pub(super) fn read_parts(&mut self, parts: &BTreeMap<String, Digest>) -> Result<Parts, CheckpointError> {
        let missing = || CheckpointError::Missing { blob: "a store".to_owned() };
        let durable = self.durable.as_mut().ok_or_else(missing)?;
        parts.iter().map(|(name, digest)| Ok((name.clone(), durable.keeper().get(digest)?))).collect()
    }
}
