//! What has grown, out of the manager.

use burn::module::AutodiffModule;
use kasmina_blending::GraftBackend;
use kasmina_grown::{Fossil, FossilSpec, Grown, GrownError, Provenance};
use kasmina_isolation::independent_copy;

use super::SeedManager;

impl<B: GraftBackend> SeedManager<B> {
    /// The host with its fossils as one Burn module, which saves to one file and needs no manager: the committed network. It is a copy;
    /// training on does not change it. Live seeds have no part in it.
    ///
    /// # Errors
    /// [`GrownError`] if a fossil's kernel is not what its manifest says.
    pub fn grown<H: AutodiffModule<B>>(&self, host: &H) -> Result<Grown<B, H>, GrownError> {
        let state = self.state();
        let fossils = state.run.fossils.iter().filter_map(|id| {
            let seed = state.seeds.get(id)?;
            let (manifest, kernel) = self.tensors.grafted(id)?;
            let provenance = Provenance {
                training_run: Some(self.engine.settings().run.clone()),
                step: Some(state.run.step),
                ..Provenance::default()
            };
            let (slot, blend) = (seed.slot.clone(), seed.stage.blend()?.clone());
            let spec = FossilSpec { seed: id.clone(), slot, blend, manifest: manifest.clone(), provenance };
            Some(Fossil::new(spec, independent_copy(kernel)))
        });
        Grown::from_parts(independent_copy(host), fossils.collect::<Result<Vec<_>, _>>()?)
    }
}
