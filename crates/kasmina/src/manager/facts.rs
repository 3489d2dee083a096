//! The facts that the engine asks for, measured.

use kasmina_blending::GraftBackend;
use kasmina_engine::{
    self as engine, Facts, Seed, Want,
    input::{CheckpointFailure, KernelFailure, SeedCheckpoint},
};
use kasmina_isolation::Route;
use kasmina_leyline::{BlueprintId, SeedId};
use kasmina_rollback::{FAST_ROLLBACK, FULL_ROLLBACK, Sla};

use crate::{
    error::{CheckpointError, KernelError, Refusal},
    manager::SeedManager,
    tensors::Plant,
};

/// Facts, and what measuring them left behind.
pub(super) struct Measured<B: GraftBackend> {
    pub(super) facts: Facts,
    /// How long going back with one seed may take.
    pub(super) sla: Option<Sla>,
    /// The kernel that a seed goes back to, if it goes back.
    pub(super) plant: Option<(SeedId, Plant<B>)>,
    /// Why the catalogue could not be asked.
    catalogue: Option<(BlueprintId, KernelError)>,
    /// Why the checkpoint could not be had.
    checkpoint: Option<CheckpointError>,
}

impl<B: GraftBackend> Measured<B> {
    fn new() -> Self {
        let facts = Facts::default();
        Self { facts, sla: None, plant: None, catalogue: None, checkpoint: None }
    }

    /// The engine's refusal, with the cause that it has only read about.
    pub(super) fn explain(&mut self, refusal: engine::Refusal) -> Refusal {
        if let engine::Refusal::Kernel(_) = &refusal
            && let Some((blueprint, cause)) = self.catalogue.take()
        {
            return Refusal::Kernel { blueprint, cause: Box::new(cause) };
        }
        if let engine::Refusal::Checkpoint(_) = &refusal
            && let Some(cause) = self.checkpoint.take()
        {
            return Refusal::Checkpoint(Box::new(cause));
        }
        refusal.into()
    }
}

impl<B: GraftBackend> SeedManager<B> {
    /// Measures what is wanted; `seeds` are the records of the seeds that it is about.
    pub(super) fn measure(&mut self, wants: &[Want], seeds: &[Seed]) -> Measured<B> {
        let mut measured = Measured::new();
        let facts = &mut measured.facts;
        for want in wants {
            let seed = want.seed().and_then(|id| seeds.iter().find(|seed| seed.id == *id));
            match want {
                Want::Descriptor(blueprint) => {
                    let asked = self.kernels.descriptor(blueprint);
                    if let Ok(Some(descriptor)) = &asked {
                        self.memory.remember(blueprint, descriptor, self.clock.monotonic());
                    }
                    facts.descriptor = Some(asked.map_err(|error| {
                        let failure = KernelFailure {
                            blueprint: blueprint.clone(),
                            reason: error.reason(),
                            detail: error.to_string(),
                            source_failed: true,
                        };
                        measured.catalogue = Some((blueprint.clone(), error.into()));
                        failure
                    }));
                }
                Want::Slot(slot) => facts.slot = self.tensors.contract(slot),
                Want::Rehearsal(_) => {
                    let Some(seed) = seed else { continue };
                    let grafted = seed.stage.graft().map(|graft| &graft.blueprint);
                    let blueprint = grafted.or_else(|| seed.stage.awaits().map(|request| &request.blueprint));
                    let route = blueprint.map_or_else(Route::default, |it| self.tensors.paths().route(it));
                    facts.rehearsal = self.tensors.rehearse(&seed.id, &seed.slot, &route);
                }
                Want::Ownership(id) => {
                    facts.ownership.insert(id.clone(), self.tensors.ownership(id));
                }
                Want::Packets(id) => {
                    facts.packets = Some(self.group.packets(id).unwrap_or_else(|| self.reporter.packets(id)))
                }
                Want::Origin(id) => {
                    facts.origins.insert(id.clone(), self.tensors.origin(id));
                }
                Want::Remains(id) => {
                    facts.remains.insert(id.clone(), self.tensors.remains(id));
                }
                Want::Epochs => facts.epochs = self.epochs(),
                Want::Checkpoint(id, epoch) => {
                    let looked_up = self.look_up_seed(id, *epoch);
                    facts.checkpoint = Some(match looked_up {
                        Ok((found, plant, sla)) => {
                            measured.sla = Some(sla);
                            measured.plant = plant.map(|plant| (id.clone(), plant));
                            Ok(found)
                        }
                        Err(error) => {
                            let (reason, detail) = (error.reason(), error.to_string());
                            measured.checkpoint = Some(error);
                            Err(CheckpointFailure { reason, detail })
                        }
                    });
                }
            }
        }
        measured
    }

    /// A seed as a checkpoint has it, with its kernel if that is the same.
    fn look_up_seed(
        &mut self,
        id: &SeedId,
        epoch: Option<u64>,
    ) -> Result<(SeedCheckpoint, Option<Plant<B>>, Sla), CheckpointError> {
        let held = self.epochs();
        let target = epoch.or_else(|| held.last().copied()).filter(|epoch| held.contains(epoch));
        let Some(epoch) = target else {
            return Err(CheckpointError::UnknownEpoch { epoch: epoch.unwrap_or_default(), held });
        };
        let in_memory = self.checkpoints.iter().rev().find(|held| held.epoch() == epoch);
        let (seed, plant, sla) = match in_memory {
            Some(held) => (held.state().seeds.get(id).cloned(), held.planted().get(id).cloned(), FAST_ROLLBACK),
            None => {
                let stored = self.stored_epoch(epoch)?;
                let plant = stored.weights.get(id).map(|weights| self.load(weights)).transpose()?;
                (stored.state.seeds.get(id).cloned(), plant, FULL_ROLLBACK)
            }
        };
        let plant = plant.filter(|plant| self.tensors.has_kernel_of(id, plant));
        Ok((SeedCheckpoint { epoch, seed, same_graft: plant.is_some() }, plant, sla))
    }
}
