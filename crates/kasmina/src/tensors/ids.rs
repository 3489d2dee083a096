//! The ids of a kernel's parameters.

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{Tensor, backend::Backend},
};
use kasmina_kernel_load::KernelModule;

/// The kernel with other ids for the parameters that learn, in the order in which it is visited.
pub(crate) fn with_ids<B: Backend>(kernel: KernelModule<B>, ids: &[ParamId]) -> KernelModule<B> {
    kernel.map(&mut Rename(ids.iter()))
}

struct Rename<'a>(std::slice::Iter<'a, ParamId>);

impl<B: Backend> ModuleMapper<B> for Rename<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !param.is_require_grad() {
            return param;
        }
        let Some(id) = self.0.next() else { return param };
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(*id, value, mapper)
    }
}
