//! Ways to do what must never happen, for tests that show that it is noticed.

use kasmina_kernel_load::KernelModule;
use kasmina_leyline::SeedId;

use crate::{GraftBackend, SeedManager};

impl<B: GraftBackend> SeedManager<B> {
    /// Replaces the kernel of a grafted seed behind the registry's back. Whether there was one.
    pub fn tamper(&mut self, seed: &SeedId, replace: impl FnOnce(KernelModule<B>) -> KernelModule<B>) -> bool {
        let Some(attached) = self.attached_mut(seed) else { return false };
        attached.kernel = replace(attached.kernel.clone());
        true
    }
}
