//! The tensors of a module with their names.

use burn::module::{Module, ModuleVisitor, Param, ParamId, Parameter};
use burn::tensor::{Bool, Int, Tensor, TensorData, backend::Backend};

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Int,
    Bool,
}

/// A tensor's place in a module. Its shape is the one that is saved: a parameter with a mapper may have another one in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) id: ParamId,
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    /// Whether the parameter is saved through a mapper, so that the file holds other numbers than the memory.
    pub(crate) mapped: bool,
}

/// Visits a module's tensors. Lazy parameters are initialised.
pub(crate) struct Collect {
    path: Vec<String>,
    places: Vec<Place>,
    /// Their data, if it is wanted.
    data: Option<Vec<TensorData>>,
}

impl Collect {
    /// The places of all tensors, in the module's order.
    pub(crate) fn shapes<B: Backend, M: Module<B>>(module: &M) -> Vec<Place> {
        let mut collect = Self { path: Vec::new(), places: Vec::new(), data: None };
        module.visit(&mut collect);
        collect.places
    }

    /// All tensors as they are saved, in the module's order.
    pub(crate) fn tensors<B: Backend, M: Module<B>>(module: &M) -> Vec<(Place, TensorData)> {
        // Running statistics hold their last update back until they are recorded. A clone of a lazy parameter would be initialised with
        // other numbers, so that all are initialised before.
        Self::shapes(module);
        drop(module.clone().into_record());
        let mut collect = Self { path: Vec::new(), places: Vec::new(), data: Some(Vec::new()) };
        module.visit(&mut collect);
        collect.places.into_iter().zip(collect.data.unwrap_or_default()).collect()
    }

    fn push<T: Parameter>(&mut self, param: &Param<T>, kind: Kind, shape: &[usize], data: impl FnOnce() -> TensorData) {
        // Burn says whether there is a mapper only here. A test with a column layout fails if it no longer does.
        let mapped = format!("{param:?}").contains("save: true");
        self.places.push(Place { name: self.path.join("."), id: param.id, kind, shape: shape.to_vec(), mapped });
        if let Some(all) = &mut self.data {
            all.push(data());
        }
    }
}

impl<B: Backend> ModuleVisitor<B> for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.transform_for_save().val();
        self.push(param, Kind::Float, &tensor.dims(), || tensor.into_data());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        let tensor = param.transform_for_save().val();
        self.push(param, Kind::Int, &tensor.dims(), || tensor.into_data());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<B, D, Bool>>) {
        let tensor = param.transform_for_save().val();
        self.push(param, Kind::Bool, &tensor.dims(), || tensor.into_data());
    }
}
