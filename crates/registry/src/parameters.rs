//! The parameters of a module.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, backend::Backend},
};

/// The ids of the module's trainable parameters, in the order of its fields. Lazy parameters are initialised on the way. Running
/// statistics and frozen parameters are not included, because no optimizer updates them.
#[must_use]
pub fn parameter_ids<B: Backend, M: Module<B>>(module: &M) -> Vec<ParamId> {
    let mut collect = Collect(Vec::new());
    module.visit(&mut collect);
    collect.0
}

struct Collect(Vec<ParamId>);

impl<B: Backend> ModuleVisitor<B> for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        // A lazy parameter knows whether it is trainable only once it has its value.
        let _ = param.val();
        if param.is_require_grad() {
            self.0.push(param.id);
        }
    }
}
