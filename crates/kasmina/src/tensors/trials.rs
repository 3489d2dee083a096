//! Kernels run alone, outside of passes.

use kasmina_blending::GraftBackend;
use kasmina_isolation::{PrewarmError, Route, Trial, prewarm, trial};
use kasmina_leyline::{SeedId, SlotId};
use kasmina_safety::Clock;

use super::Tensors;
use crate::paths::Paths;

impl<B: GraftBackend> Tensors<B> {
    pub(crate) const fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(crate) const fn paths_mut(&mut self) -> &mut Paths {
        &mut self.paths
    }

    /// One forward pass of a staged or grafted kernel in the shape that its slot has shown. `None` without the one or the other.
    pub(crate) fn prewarm(&self, seed: &SeedId, slot: &SlotId, route: &Route) -> Option<Result<(), PrewarmError>> {
        let plant = self.staged.get(seed).or_else(|| self.planted.get(seed))?;
        Some(prewarm(&plant.kernel, &self.slots.get(slot)?.input, route, &self.device))
    }

    /// The same with a backward pass, and with the numbers.
    pub(crate) fn trial(
        &self,
        seed: &SeedId,
        slot: &SlotId,
        route: &Route,
        clock: &dyn Clock,
    ) -> Option<Result<Trial, PrewarmError>> {
        let plant = self.staged.get(seed).or_else(|| self.planted.get(seed))?;
        Some(trial(&plant.kernel, &self.slots.get(slot)?.input, route, &self.device, clock))
    }
}
