//! The model: whether it is the one that the seeds grow on, what joins and leaves it, and its whole checkpoints.

use std::collections::BTreeSet;

use burn::optim::Optimizer;
use kasmina_blending::GraftBackend;
use kasmina_engine::Input;
use kasmina_grown::{Fossil, Grown, HostModule, Provenance};
use kasmina_leyline::SeedId;

use super::{SeedManager, door::Batch};
use crate::{
    durable::Saved,
    error::{CheckpointError, ModelError},
    records::{EpochRecord, Network},
    trainer_state::{ModelState, Parts, TrainerState, have_optimizer, model_to_parts},
};

/// The model after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoredModel {
    /// The last step that the model had taken; 0 in a run that begins.
    pub step: u64,
    /// Whether the optimizer was restored with it. It was not if the run begins, or if the checkpoint is one that the manager took without
    /// an optimizer: as the run began, in [`settle`](SeedManager::settle), or in a [`Step`](crate::Step).
    pub optimizer: bool,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Hands the model what has been answered: the kernels of seeds whose FOSSILIZE was become part of it, and those of fossils
    /// whose TERMINATE was leave it. A checkpoint of the whole network is written with it: both are durable, or neither has happened.
    /// Returns the seeds that became part of the model.
    ///
    /// Every step does this at its beginning and at its end. Call it to [save](Grown::save) a model between an answer and the next step.
    ///
    /// # Errors
    /// [`CheckpointError`]; the model is as it was, and the seeds are still PROBATIONARY.
    pub fn settle<H: HostModule<B>>(&mut self, model: &mut Grown<B, H>) -> Result<Vec<SeedId>, CheckpointError> {
        self.check_model(model)?;
        self.follow(model);
        self.settle_with(model, &model_to_parts)
    }

    /// As [`settle`](Self::settle), with `parts` for the checkpoint.
    pub(super) fn settle_with<H: HostModule<B>>(
        &mut self,
        model: &mut Grown<B, H>,
        parts: &impl Fn(&Grown<B, H>) -> Result<Parts, CheckpointError>,
    ) -> Result<Vec<SeedId>, CheckpointError> {
        let state = self.engine.state();
        let removed: Vec<SeedId> = state.terminated_fossils().map(|seed| seed.id.clone()).collect();
        let mut joining = Vec::new();
        for seed in state.joining() {
            let provenance = Provenance {
                artifact: None,
                training_run: Some(self.engine.settings().run.clone()),
                step: Some(state.run.step),
                verdict: seed.stage.joining().map(|joining| joining.verdict.clone()).unwrap_or_default(),
            };
            let missing = || CheckpointError::Missing { blob: format!("kernel of {}", seed.id) };
            joining.push(self.tensors.fossil(seed, provenance).ok_or_else(missing)??);
        }
        if removed.is_empty() && joining.is_empty() {
            return Ok(Vec::new());
        }
        self.check_fossils(model)?;
        self.ready()?;
        let joined: Vec<SeedId> = joining.iter().map(|fossil| fossil.seed().clone()).collect();
        // Clones share tensors. The model is not touched before all is durable.
        let mut settled = model.clone();
        for seed in &removed {
            settled.remove(seed);
        }
        joining.into_iter().try_for_each(|fossil: Fossil<B>| settled.push(fossil))?;
        let mut batch = Batch::default();
        let settles = Input::ModelSettled { joined: joined.clone(), removed };
        // The seeds were looked up in the same state.
        let _ = self.decide(settles, &mut batch);
        if self.durable.is_some() {
            batch.network = Some(Saved::Parts(parts(&settled)?));
        }
        self.conclude(batch)?;
        self.tensors.follow(&settled);
        *model = settled;
        Ok(joined)
    }

    /// Puts the model and its optimizer back as they were in the newest checkpoint of the whole network: for a trainer that has
    /// come back with [`recover`](crate::SeedManagerBuilder::recover) and keeps no checkpoints of its own. In a run that begins they are
    /// as they were given.
    ///
    /// Whole checkpoints are written by [`attach_host`](Self::attach_host) when the run begins, by [`checkpoint`](Self::checkpoint), and
    /// whenever a fossil joins or leaves the model. Seeds come back as the journal has them. If they are ahead of the model, what was measured of them is
    /// measured again; `evidence_reset` names both steps. A FOSSILIZE that was answered on a newer model, and that had not taken
    /// effect, must be ordered again.
    ///
    /// # Errors
    /// [`CheckpointError`]; model and optimizer are as they were, and no batch is trained until the model is restored. If the
    /// checkpoint cannot be read, an earlier epoch can be [gone back to](Self::roll_back_to).
    pub fn restore_model<H, O>(
        &mut self,
        model: &mut Grown<B, H>,
        optimizer: &mut O,
    ) -> Result<RestoredModel, CheckpointError>
    where
        H: HostModule<B> + 'static,
        O: Optimizer<Grown<B, H>, B> + 'static,
    {
        let mut trainer = ModelState::<B, H, O>::of(model, optimizer, self.tensors.device());
        let restored = self.restore_model_with(&mut trainer)?;
        (*model, *optimizer) = (trainer.model, trainer.optimizer);
        self.follow(model);
        Ok(restored)
    }

    /// As [`restore_model`](Self::restore_model), for a trainer with a state of its own.
    ///
    /// # Errors
    /// As [`restore_model`](Self::restore_model).
    pub fn restore_model_with(&mut self, trainer: &mut impl TrainerState) -> Result<RestoredModel, CheckpointError> {
        let Some(network) = self.newest_network()? else {
            let nothing = || CheckpointError::Missing { blob: "checkpoint of the whole network".to_owned() };
            return if self.unrestored { Err(nothing()) } else { Ok(RestoredModel::default()) };
        };
        let parts = self.read_parts(&network.parts)?;
        let mut restored = trainer.snapshot();
        restored.take_parts(&parts)?;
        self.take_model_step(network.step)?;
        *trainer = restored;
        Ok(RestoredModel { step: network.step, optimizer: have_optimizer(&parts) })
    }

    /// Says that the trainer has restored the model by itself, as it was after `step` steps: for a trainer that keeps checkpoints of its
    /// own. It takes one whenever [`StepReport::joined`](crate::StepReport::joined) is not empty.
    ///
    /// # Errors
    /// [`ModelError::Fossils`] if the model has other fossils than the run, and then it is of no use here: [restore the
    /// model](Self::restore_model), or go back to an epoch. Otherwise [`CheckpointError`] if this could not be made durable.
    pub fn model_restored<H: HostModule<B>>(&mut self, model: &Grown<B, H>, step: u64) -> Result<(), CheckpointError> {
        self.check_fossils(model)?;
        self.take_model_step(step)?;
        self.follow(model);
        Ok(())
    }

    fn take_model_step(&mut self, step: u64) -> Result<(), CheckpointError> {
        let mut batch = Batch::default();
        let _ = self.decide(Input::ModelRestored(step), &mut batch);
        self.conclude(batch)?;
        self.unrestored = false;
        Ok(())
    }

    /// Writes the first checkpoint of the whole network, if there is a store and it has none.
    pub(super) fn save_first_network<H: HostModule<B>>(&mut self, model: &Grown<B, H>) -> Result<(), CheckpointError> {
        if self.durable.is_none() || self.has_network() {
            return Ok(());
        }
        self.ready()?;
        let mut batch = Batch::default();
        batch.network = Some(Saved::Parts(model_to_parts(model)?));
        self.conclude(batch)
    }

    /// Asked before a network is encoded: whether the journal takes anything at present.
    fn ready(&mut self) -> Result<(), CheckpointError> {
        let now = self.now();
        match &mut self.durable {
            Some(durable) => Ok(durable.keeper().ready(now)?),
            None => Ok(()),
        }
    }

    /// Whether the store has a checkpoint of the whole network.
    pub(super) fn has_network(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.network().is_some() || !durable.epochs().is_empty())
    }

    /// The newest whole network in the store. An epoch has the optimizer, too.
    fn newest_network(&mut self) -> Result<Option<Network>, CheckpointError> {
        let Some(durable) = &self.durable else { return Ok(None) };
        let (saved, newest) = (durable.network().cloned(), durable.epochs().last().copied());
        let epoch = newest.map(|epoch| self.stored_epoch(epoch)).transpose()?;
        // At the same step, a seed may have joined or left after the checkpoint of the epoch.
        let grown_since = |epoch: &EpochRecord| epoch.state.run.fossils != self.state().run.fossils;
        Ok(match (saved, epoch) {
            (Some(saved), Some(epoch)) if saved.step > epoch.state.run.step || grown_since(&epoch) => Some(saved),
            (saved, epoch) => epoch.map(EpochRecord::into_network).or(saved),
        })
    }

    /// Whether seeds may be trained on this model.
    pub(super) fn check_model<H: HostModule<B>>(&self, model: &Grown<B, H>) -> Result<(), ModelError> {
        if self.unrestored {
            return Err(ModelError::NotRestored);
        }
        self.check_fossils(model)
    }

    fn check_fossils<H: HostModule<B>>(&self, model: &Grown<B, H>) -> Result<(), ModelError> {
        let listed = &self.state().run.fossils;
        let held = model.fossils();
        if held.len() == listed.len() && held.iter().zip(listed).all(|(held, listed)| held.seed() == listed) {
            return Ok(());
        }
        let (held, listed): (BTreeSet<_>, BTreeSet<_>) =
            (held.iter().map(Fossil::seed).cloned().collect(), listed.iter().cloned().collect());
        let apart = |one: &BTreeSet<SeedId>, other: &BTreeSet<SeedId>| one.difference(other).cloned().collect();
        Err(ModelError::Fossils { missing: apart(&listed, &held), unknown: apart(&held, &listed) })
    }

    /// Lets models know what is about to join them.
    pub(super) fn show_pending(&self) {
        self.pending.set(self.state().joining().map(|seed| seed.id.clone()));
    }

    /// From now on, this model knows what is about to join it, and no other does.
    pub(super) fn follow<H: HostModule<B>>(&mut self, model: &Grown<B, H>) {
        if !self.pending.is_shared_with(model.pending()) {
            self.pending.set([]);
            self.pending = model.pending().clone();
        }
        self.show_pending();
    }
}
