//! Puts stored tensors into a module.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData, backend::Backend};

/// Replaces the tensors of a module by those of the same path. They must fit. Mappers, and whether a parameter gets gradients, stay.
pub(crate) struct Put<'a, B: Backend> {
    path: Vec<String>,
    tensors: BTreeMap<String, (ParamId, TensorData)>,
    device: &'a B::Device,
}

impl<'a, B: Backend> Put<'a, B> {
    pub(crate) fn new(tensors: BTreeMap<String, (ParamId, TensorData)>, device: &'a B::Device) -> Self {
        Self { path: Vec::new(), tensors, device }
    }

    fn next(&mut self) -> Option<(ParamId, TensorData, DType)> {
        let (id, data) = self.tensors.remove(&self.path.join("."))?;
        let dtype = data.dtype;
        Some((id, data, dtype))
    }
}

impl<B: Backend> ModuleMapper<B> for Put<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some((id, data, dtype)) = self.next() else { return param };
        let param = param.transform_for_load(Tensor::from_data(data, (self.device, dtype)), id);
        if param.device() == *self.device {
            return param;
        }
        // A blank module may be on another device. A moved tensor would no longer be a leaf.
        let learns = param.is_require_grad();
        param.map(|tensor| tensor.to_device(self.device).detach().set_require_grad(learns))
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        let Some((id, data, dtype)) = self.next() else { return param };
        let param = param.transform_for_load(Tensor::from_data(data, (self.device, dtype)), id);
        param.map(|tensor| tensor.to_device(self.device))
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        let Some((id, data, _)) = self.next() else { return param };
        let param = param.transform_for_load(Tensor::from_data(data, self.device), id);
        param.map(|tensor| tensor.to_device(self.device))
    }
}
