//! Going back: to a checkpoint of an epoch with everything, or with one seed alone.

use std::{any::Any, collections::BTreeMap};

use burn::{module::AutodiffModule, optim::Optimizer};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{self, SeedStageDormant, SeedStageFossilized},
};
use kasmina_lifecycle::Lifecycle;
use kasmina_rollback::{Entry, FAST_ROLLBACK, FULL_ROLLBACK, Sla, Timing};

use crate::{
    CheckpointError, GraftBackend, HostState, Refusal, SeedManager, TrainerState,
    durability::{Blobs, Kept, Unjournaled, checkpoint_id, decode, encode},
    seed::Seed,
    state::State,
};

/// A checkpoint in memory.
pub(crate) struct Remembered<B: GraftBackend> {
    epoch: u64,
    state: State<B>,
    /// A [`TrainerState`], of whatever type the trainer has.
    trainer: Box<dyn Any + Send>,
}

/// What a rollback did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// The epoch that was gone back to.
    pub epoch: u64,
    /// The step after which the run goes on: the next batch is the one that came behind it.
    pub step: u64,
    /// The seeds whose stages are others than before: what they were, and what they are.
    pub seeds: BTreeMap<SeedId, (SeedLifecycleStage, SeedLifecycleStage)>,
    /// How long it took, against 500 ms for a checkpoint in memory and 12 s for one in the store.
    pub timing: Timing,
}

/// The checkpoint whose host was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredHost {
    /// Its epoch.
    pub epoch: u64,
    /// The step that the host had taken last.
    pub step: u64,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Takes a checkpoint of everything, under the number of epochs that have ended: in memory, and in the store where one is
    /// wired. `COMMAND_ROLLBACK` with this `target_epoch` goes back to it. How many are kept say the settings
    /// (`rollback.keep_in_memory`, `rollback.keep_in_store`); the oldest go first.
    ///
    /// In memory it costs no copy of weights now and one as they change; in the store it costs writing all of them.
    ///
    /// # Errors
    /// [`CheckpointError`]: it is not in the store. It is in memory all the same, but where a rollback has been commanded
    /// ([`CheckpointError::RollbackPending`]): what is about to be undone must not push out what is to be gone back to.
    pub fn checkpoint<H, O>(&mut self, host: &H, optimizer: &O) -> Result<(), CheckpointError>
    where
        H: AutodiffModule<B> + 'static,
        O: Optimizer<H, B> + 'static,
    {
        self.checkpoint_with(&HostState::<B, H, O>::of(host, optimizer, &self.device))
    }

    /// As [`checkpoint`](Self::checkpoint), for a trainer with a state of its own.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_with(&mut self, trainer: &impl TrainerState) -> Result<(), CheckpointError> {
        if let Some(epoch) = self.commanded {
            return Err(CheckpointError::RollbackPending { epoch });
        }
        let (state, epoch) = (self.state(), self.epoch);
        self.remembered.retain(|remembered| remembered.epoch != epoch);
        self.remembered.push(Remembered { epoch, state, trainer: Box::new(trainer.snapshot()) });
        let surplus = self.remembered.len().saturating_sub(self.settings.rollback.keep_in_memory);
        self.remembered.drain(..surplus);
        let stored = self.settings.rollback.keep_in_store > 0 && self.durability.is_some();
        let outcome = if stored { self.store_checkpoint(trainer) } else { Ok(()) };
        self.reporter.rollback_ready(epoch, self.step, stored && outcome.is_ok());
        outcome
    }

    fn store_checkpoint(&mut self, trainer: &impl TrainerState) -> Result<(), CheckpointError> {
        let mut blobs = encode(&self.state(), &self.book(), self.clock.monotonic())?;
        blobs.extend(trainer.to_parts()?);
        let (at, epoch, step) = (self.clock.unix(), self.epoch, self.step);
        let keep = self.settings.rollback.keep_in_store;
        let Some(durability) = &mut self.durability else { return Ok(()) };
        let id = durability.save("epoch", at, blobs)?;
        let before = durability.kept.clone();
        durability.kept.retain(|kept| kept.epoch != epoch);
        durability.kept.push(Kept { id: id.to_string(), epoch, step });
        let surplus = durability.kept.len().saturating_sub(keep);
        durability.kept.drain(..surplus);
        self.commit(true).inspect_err(|error| {
            self.tell_failing(error);
            if let Some(durability) = &mut self.durability {
                durability.kept = before;
            }
        })
    }

    /// Does the rollback that a command said: the host, its optimizer, every seed and the count of steps are those of the
    /// checkpoint, and the run goes on as it went on then, bit for bit, given the same batches. Nonces, breakers and telemetry do
    /// not go back, and a seed that was registered since is DORMANT. Until this is done no batch is trained.
    ///
    /// # Errors
    /// [`CheckpointError`]; everything is as it was. Where the checkpoint cannot be had any more, another epoch can be commanded, or
    /// this one [given up](Self::abandon_rollback).
    pub fn roll_back<H, O>(&mut self, host: &mut H, optimizer: &mut O) -> Result<RolledBack, CheckpointError>
    where
        H: AutodiffModule<B> + 'static,
        O: Optimizer<H, B> + 'static,
    {
        let mut trainer = HostState::<B, H, O>::of(host, optimizer, &self.device);
        let rolled_back = self.roll_back_with(&mut trainer)?;
        (*host, *optimizer) = (trainer.host, trainer.optimizer);
        Ok(rolled_back)
    }

    /// As [`roll_back`](Self::roll_back), for a trainer with a state of its own.
    ///
    /// # Errors
    /// As [`roll_back`](Self::roll_back).
    pub fn roll_back_with<T: TrainerState>(&mut self, trainer: &mut T) -> Result<RolledBack, CheckpointError> {
        let epoch = self.commanded.ok_or(CheckpointError::NotCommanded)?;
        let started = self.clock.monotonic();
        let (state, back, sla) = self.find::<T>(epoch, trainer)?;
        let before = self.undo_point();
        let stages = |seeds: &BTreeMap<SeedId, Seed<B>>| -> BTreeMap<SeedId, SeedLifecycleStage> {
            seeds.iter().map(|(id, seed)| (id.clone(), seed.stage())).collect()
        };
        let were = stages(&self.seeds);
        let breakers = self.breakers.clone();
        let mut state = State { breakers, commanded: None, ..state };
        for (id, seed) in &self.seeds {
            state.seeds.entry(id.clone()).or_insert_with(|| Seed {
                lifecycle: Lifecycle::resumed(
                    id.clone(),
                    SeedStageDormant,
                    self.settings.lifecycle.embargo(),
                    None,
                    started,
                ),
                slot: seed.slot.clone(),
                id: id.clone(),
                attached: None,
            });
        }
        self.put_back(state);
        let kept = self.durability.as_mut().map(|durability| {
            let kept = durability.kept.clone();
            // What came behind it has not happened.
            durability.kept.retain(|kept| kept.epoch <= epoch);
            kept
        });
        let mut entries = self.entries_from(0);
        entries.push(Entry::RolledBack { seed_id: None, epoch });
        if let Err(error) = self.persist(entries, true) {
            self.undo(before);
            self.tell_failing(&error);
            if let Some((durability, kept)) = self.durability.as_mut().zip(kept) {
                durability.kept = kept;
            }
            return Err(error);
        }
        self.tell_from(0);
        self.remembered.retain(|remembered| remembered.epoch <= epoch);
        *trainer = back;
        let timing = sla.judge(started, self.clock.monotonic());
        self.reporter.rolled_back(None, epoch, &timing);
        let mut seeds: BTreeMap<_, _> = BTreeMap::new();
        for (id, is) in stages(&self.seeds) {
            let was = were.get(&id).copied().unwrap_or_default();
            if was != is {
                seeds.insert(id, (was, is));
            }
        }
        Ok(RolledBack { epoch, step: self.step, seeds, timing })
    }

    /// Gives up the rollback that a command said, where its checkpoint cannot be had: the run goes on from where it is. The epoch
    /// that was given up; `None` where none was commanded.
    ///
    /// # Errors
    /// [`CheckpointError`]: it could not be made durable, and the rollback is still to be done.
    pub fn abandon_rollback(&mut self) -> Result<Option<u64>, CheckpointError> {
        let Some(epoch) = self.commanded.take() else { return Ok(None) };
        match self.commit(true) {
            Ok(()) => Ok(Some(epoch)),
            Err(error) => {
                self.commanded = Some(epoch);
                self.tell_failing(&error);
                Err(error)
            }
        }
    }

    /// Puts the host and its optimizer back as they were in the newest checkpoint of the store, and leaves the seeds as they
    /// are: for a trainer that has come back with [`recover`](crate::SeedManagerBuilder::recover) and keeps no checkpoints of its
    /// own. `None` where there is none.
    ///
    /// # Errors
    /// [`CheckpointError`]; the host is as it was.
    pub fn restore_host<H, O>(
        &mut self,
        host: &mut H,
        optimizer: &mut O,
    ) -> Result<Option<RestoredHost>, CheckpointError>
    where
        H: AutodiffModule<B> + 'static,
        O: Optimizer<H, B> + 'static,
    {
        let mut trainer = HostState::<B, H, O>::of(host, optimizer, &self.device);
        let restored = self.restore_host_with(&mut trainer)?;
        (*host, *optimizer) = (trainer.host, trainer.optimizer);
        Ok(restored)
    }

    /// As [`restore_host`](Self::restore_host), for a trainer with a state of its own.
    ///
    /// # Errors
    /// As [`restore_host`](Self::restore_host).
    pub fn restore_host_with(
        &mut self,
        trainer: &mut impl TrainerState,
    ) -> Result<Option<RestoredHost>, CheckpointError> {
        let Some(durability) = &mut self.durability else { return Ok(None) };
        let Some(kept) = durability.kept.last().cloned() else { return Ok(None) };
        let checkpoint = durability.checkpoints.load(&checkpoint_id(&kept.id)?)?;
        trainer.take_parts(&checkpoint.blobs)?;
        Ok(Some(RestoredHost { epoch: kept.epoch, step: kept.step }))
    }

    /// The epochs that a rollback can go back to, oldest first.
    #[must_use]
    pub fn epochs(&self) -> Vec<u64> {
        let remembered = self.remembered.iter().map(|remembered| remembered.epoch);
        let kept = self.durability.iter().flat_map(|durability| durability.kept.iter().map(|kept| kept.epoch));
        let mut epochs: Vec<_> = remembered.chain(kept).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The epoch that a command said to go back to and that [`roll_back`](Self::roll_back) has not gone back to yet.
    #[must_use]
    pub fn rollback_commanded(&self) -> Option<u64> {
        self.commanded
    }

    /// The state of an epoch, the trainer's copy of it, and how long it may take to go there.
    fn find<T: TrainerState>(&mut self, epoch: u64, trainer: &T) -> Result<(State<B>, T, Sla), CheckpointError> {
        let remembered = self.remembered.iter().rev().find(|remembered| remembered.epoch == epoch);
        if let Some((remembered, held)) =
            remembered.and_then(|remembered| Some((remembered, remembered.trainer.downcast_ref::<T>()?)))
        {
            return Ok((remembered.state.clone(), held.snapshot(), FAST_ROLLBACK));
        }
        let (state, blobs) = self.stored(epoch)?;
        let mut back = trainer.snapshot();
        back.take_parts(&blobs)?;
        Ok((state, back, FULL_ROLLBACK))
    }

    /// The state of an epoch out of the store, with the parts that it came in.
    fn stored(&mut self, epoch: u64) -> Result<(State<B>, Blobs), CheckpointError> {
        let (held, now) = (self.epochs(), self.clock.monotonic());
        let kept = self.durability.as_ref().and_then(|held| held.kept.iter().rev().find(|kept| kept.epoch == epoch));
        let Some(kept) = kept else { return Err(CheckpointError::UnknownEpoch { epoch, held }) };
        let id = checkpoint_id(&kept.id)?;
        let Some(durability) = &mut self.durability else {
            return Err(CheckpointError::UnknownEpoch { epoch, held });
        };
        let blobs = durability.checkpoints.load(&id)?.blobs;
        let (mut state, _) = decode::<B>(&blobs, &self.settings, &self.device, now)?;
        // The store knows nothing of the host's parameters; those that are registered are still its own.
        state.registry = self.registry.with_seeds_of(&state.registry);
        Ok((state, blobs))
    }

    /// Takes in that a command said to go back to `epoch`; it is done where the trainer hands its host over.
    pub(crate) fn command_rollback(&mut self, epoch: u64) -> Result<(), Refusal> {
        let held = self.epochs();
        if !held.contains(&epoch) {
            return Err(Refusal::Checkpoint(Box::new(CheckpointError::UnknownEpoch { epoch, held })));
        }
        self.commanded = Some(epoch);
        Ok(())
    }

    /// Puts one grafted seed back as it was in the newest checkpoint, or in that of `epoch`: its stage, kernel, optimizer, alpha and
    /// what was measured of it. The host and the other seeds notice nothing: it has not touched them.
    pub(crate) fn roll_back_seed(&mut self, id: &SeedId, epoch: Option<u64>) -> Result<(), Refusal> {
        let started = self.clock.monotonic();
        if self.grafted(id).is_ok() && self.seed(id)?.stage() == SeedStageFossilized {
            return Err(self.wrong_stage(id, "a fossil is part of the host: go back to an epoch"));
        }
        self.grafted(id)?;
        let held = self.epochs();
        let target = epoch.or_else(|| held.last().copied());
        let Some(epoch) = target.filter(|epoch| held.contains(epoch)) else {
            let unknown = CheckpointError::UnknownEpoch { epoch: epoch.unwrap_or_default(), held };
            return Err(Refusal::Checkpoint(Box::new(unknown)));
        };
        let remembered = self.remembered.iter().rev().find(|remembered| remembered.epoch == epoch);
        let (state, sla) = match remembered {
            Some(remembered) => (remembered.state.clone(), FAST_ROLLBACK),
            None => {
                let stored = self.stored(epoch).map_err(|error| Refusal::Checkpoint(Box::new(error)))?;
                (stored.0, FULL_ROLLBACK)
            }
        };
        let same_graft = state.registry.parameters_of(id).eq(self.registry.parameters_of(id));
        let Some(seed) = state.seeds.get(id).filter(|seed| same_graft && seed.attached.is_some()) else {
            return Err(self.wrong_stage(id, "it was not grafted yet in that checkpoint: CULL takes it out"));
        };
        let scale = state.registry.learning_rate_scale(id).unwrap_or(1.0);
        self.registry.set_learning_rate_scale(id, scale)?;
        self.seeds.insert(id.clone(), seed.clone());
        self.validation.clear();
        let timing = sla.judge(started, self.clock.monotonic());
        self.reporter.rolled_back(Some(id), epoch, &timing);
        self.unjournaled.push(Unjournaled::RolledBack { seed: id.clone(), epoch });
        Ok(())
    }
}
