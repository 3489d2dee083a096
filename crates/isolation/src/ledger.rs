//! Whose parameters got a gradient in a pass.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, backend::AutodiffBackend},
};

/// The gradients of one backward pass, taken out module by module.
///
/// Every method costs one lookup for each parameter and no tensor arithmetic.
pub struct GradientLedger<B: AutodiffBackend> {
    gradients: B::Gradients,
    /// Parameters whose gradients have been taken.
    taken: BTreeSet<ParamId>,
}

impl<B: AutodiffBackend> GradientLedger<B> {
    /// The ledger of `loss.backward()`.
    #[must_use]
    pub const fn new(gradients: B::Gradients) -> Self {
        Self { gradients, taken: BTreeSet::new() }
    }

    /// The module's parameters that have a gradient in this ledger.
    #[must_use]
    pub fn present<M: Module<B>>(&self, module: &M) -> BTreeSet<ParamId> {
        let mut present = Present::<B> { gradients: &self.gradients, found: BTreeSet::new() };
        module.visit(&mut present);
        present.found
    }

    /// A copy of the module's gradients. They stay in the ledger.
    #[must_use]
    pub fn copy<M: Module<B>>(&self, module: &M) -> GradientsParams {
        let mut copy = Copy::<B> { gradients: &self.gradients, copied: GradientsParams::new() };
        module.visit(&mut copy);
        copy.copied
    }

    /// Takes the module's gradients out of the ledger. Each can be taken only once: if a later module shares a tensor with this
    /// one, [`present`](Self::present) no longer lists that parameter.
    ///
    /// # Errors
    /// The parameters whose ids were taken for an earlier module. Then nothing is taken.
    pub fn take<M: AutodiffModule<B>>(&mut self, module: &M) -> Result<GradientsParams, BTreeSet<ParamId>> {
        let present = self.present(module);
        let shared: BTreeSet<_> = present.intersection(&self.taken).copied().collect();
        if !shared.is_empty() {
            return Err(shared);
        }
        self.taken.extend(present);
        Ok(GradientsParams::from_module(&mut self.gradients, module))
    }

    /// Takes the module's gradients out of the ledger, even if a module with some of the same ids has taken its own before.
    pub(crate) fn take_all<M: AutodiffModule<B>>(&mut self, module: &M) -> GradientsParams {
        GradientsParams::from_module(&mut self.gradients, module)
    }
}

impl<B: AutodiffBackend> std::fmt::Debug for GradientLedger<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GradientLedger").field("taken", &self.taken).finish_non_exhaustive()
    }
}

struct Present<'a, B: AutodiffBackend> {
    gradients: &'a B::Gradients,
    found: BTreeSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Present<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if param.val().grad(self.gradients).is_some() {
            self.found.insert(param.id);
        }
    }
}

struct Copy<'a, B: AutodiffBackend> {
    gradients: &'a B::Gradients,
    copied: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Copy<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.copied.register::<B::InnerBackend, D>(param.id, gradient);
        }
    }
}
