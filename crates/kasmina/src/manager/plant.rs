//! The short way to grow: a manager in one call, and a seed from the built-in blueprints in another.

use kasmina_blending::{BlendMode, GraftBackend};
use kasmina_commands::Order;
use kasmina_kernel_load::{
    SlotActivation,
    blueprints::{Blueprint, BuiltInLibrary, Start},
};
use kasmina_leyline::{SeedId, SlotId, TrainingRunId};

use crate::{
    error::{BuildError, PlantError},
    manager::SeedManager,
    settings::Settings,
};

/// The run of a manager that nobody else has to know.
const LOCAL_RUN: &str = "local";

impl<B: GraftBackend> SeedManager<B> {
    /// A manager for this process alone: no store, no signatures, no sinks, kernels from the built-in blueprints. What it does is
    /// forgotten with the process; what has grown is in the model. [`Settings::automatic`] are settings that move seeds on.
    ///
    /// # Errors
    /// [`BuildError`] if a setting is out of range.
    pub fn local(settings: Settings, device: &B::Device) -> Result<Self, BuildError> {
        let run = TrainingRunId::new(LOCAL_RUN)?;
        let kernels = BuiltInLibrary::new(settings.training.rng_seed.unwrap_or_default());
        Self::builder(run).settings(settings).kernels(kernels).volatile().build(device)
    }

    /// Registers a seed with a name of its own (`seed-1`, `seed-2` and so on) at a slot, and lets it germinate from a built-in blueprint
    /// that is fitted to the slot. It changes nothing at first, in the blend that [`Advance::Automatic`](crate::Advance::Automatic) uses
    /// (`blending.mode`). The manager's library must have the blueprint. If it draws weights, as that of [`local`](Self::local) does, each seed
    /// gets others.
    ///
    /// # Errors
    /// [`PlantError`]: the host has not shown the slot yet, the blueprint does not fit it, or the order is refused, for example because
    /// the slot is taken. In the last case the seed is registered, and may be in its embargo.
    pub fn plant(&mut self, slot: &str, blueprint: Blueprint) -> Result<SeedId, PlantError> {
        let unknown = || PlantError::UnknownSlot { slot: slot.to_owned() };
        let slot_id = SlotId::new(slot).map_err(|_| unknown())?;
        let shape = self.slots().get(&slot_id).ok_or_else(unknown)?;
        let activation = SlotActivation::from(shape);
        let dtype = || PlantError::Dtype { slot: slot_id.clone(), dtype: format!("{:?}", activation.dtype) };
        let contract = activation.contract().ok_or_else(dtype)?;
        let start = match self.settings.blending.mode().mode() {
            BlendMode::Residual => Start::Zero,
            BlendMode::Convex | BlendMode::Channel | BlendMode::Confidence => Start::Identity,
        };
        let (number, seed) = self.unused_name()?;
        // Not every library draws weights.
        let drawn = blueprint.drawn(contract, start, number)?;
        let has_it = matches!(self.kernels.descriptor(&drawn.blueprint_id), Ok(Some(_)));
        let manifest = if has_it { drawn } else { blueprint.for_slot(contract, start)? };
        self.register_seed(seed.clone(), slot_id)?;
        let (tier, parameters, lr_scale) = (None, std::collections::BTreeMap::new(), 1.0);
        let blueprint = manifest.blueprint_id;
        self.order(Order::Germinate { seed: seed.clone(), blueprint, tier, parameters, lr_scale })?;
        Ok(seed)
    }

    /// The number in it, and the name.
    fn unused_name(&self) -> Result<(u32, SeedId), PlantError> {
        let mut number = u32::try_from(self.state().seeds.len()).unwrap_or(u32::MAX).saturating_add(1);
        loop {
            let name = SeedId::new(format!("seed-{number}"))?;
            if !self.state().seeds.contains_key(&name) {
                return Ok((number, name));
            }
            number = number.wrapping_add(1);
        }
    }
}
