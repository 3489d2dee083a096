//! Ways to do what must never happen, for tests that show that it is noticed.

use kasmina_blending::GraftBackend;
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::SeedId;

use crate::SeedManager;

impl<B: GraftBackend> SeedManager<B> {
    /// Replaces the kernel of a grafted seed behind the registry's back. Returns whether it had one.
    pub fn tamper(&mut self, seed: &SeedId, replace: impl FnOnce(KernelModule<B>) -> KernelModule<B>) -> bool {
        self.tensors_mut().tamper(seed, replace)
    }

    /// The kernel of a grafted seed, to look at. Copies handles, no weights.
    #[must_use]
    pub fn kernel(&self, seed: &SeedId) -> Option<KernelModule<B>> {
        self.tensors().kernel(seed)
    }
}
