//! Which parameters a module has.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, backend::Backend},
};

/// The ids of the module's trainable parameters, in the order of its fields. Lazy ones are brought into being on the way.
/// Running statistics and frozen parameters, which no optimizer updates, are not among them.
#[must_use]
pub fn parameter_ids<B: Backend, M: Module<B>>(module: &M) -> Vec<ParamId> {
    let mut collect = Collect(Vec::new());
    module.visit(&mut collect);
    collect.0
}

struct Collect(Vec<ParamId>);

impl<B: Backend> ModuleVisitor<B> for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        // Asked for first: a lazy parameter does not know before.
        let _ = param.val();
        if param.is_require_grad() {
            self.0.push(param.id);
        }
    }
}
