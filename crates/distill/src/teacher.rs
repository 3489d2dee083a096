//! A teacher in memory.

use std::{fmt, marker::PhantomData};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId, list_param_ids},
    tensor::{Bool, DType, Int, Tensor, backend::Backend},
};
use kasmina_memory::Reservation;

/// A module that is only ever read, with the memory that is promised to it.
///
/// It is on a backend without autodiff, so it runs as in inference: without a graph, without dropout, and with the running statistics that
/// it has. Nothing of it can get a gradient, and there is no way to change it.
pub struct Teacher<B: Backend, M> {
    module: M,
    parameters: Vec<ParamId>,
    bytes: u64,
    reservation: Option<Reservation>,
    backend: PhantomData<B>,
}

impl<B: Backend, M: Module<B>> Teacher<B, M> {
    /// A module that is in memory already, for example `model.valid()`. Its parameters keep their ids: a registry refuses them while they
    /// are those of the model that learns.
    #[must_use]
    pub fn new(module: M, reservation: Option<Reservation>) -> Self {
        let mut size = Size(0);
        module.visit(&mut size);
        let parameters = list_param_ids(&module);
        Self { module, parameters, bytes: size.0, reservation, backend: PhantomData }
    }

    /// A module that was loaded. Its parameters get new ids: a file can be of an older state of the very network that learns from it.
    pub(crate) fn loaded(module: M, mut reservation: Reservation) -> Self {
        let mut teacher = Self::new(module.map(&mut Rename), None);
        reservation.shrink_to(teacher.bytes);
        teacher.reservation = Some(reservation);
        teacher
    }

    /// The module, to be run.
    #[must_use]
    pub const fn module(&self) -> &M {
        &self.module
    }

    /// The ids of all its parameters and running statistics, to be registered as the teacher's.
    pub fn parameters(&self) -> impl Iterator<Item = ParamId> {
        self.parameters.iter().copied()
    }

    /// What its tensors take in memory.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the memory was asked back: by EMERGENCY with `include_teacher`, for example.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.reservation.as_ref().is_some_and(Reservation::is_withdrawn)
    }
}

impl<B: Backend, M> fmt::Debug for Teacher<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teacher")
            .field("parameters", &self.parameters.len())
            .field("bytes", &self.bytes)
            .field("reservation", &self.reservation)
            .finish_non_exhaustive()
    }
}

/// Bytes of a module's tensors.
struct Size(u64);

impl Size {
    fn add(&mut self, elements: usize, dtype: DType) {
        self.0 += (elements * dtype.size()) as u64;
    }
}

impl<B: Backend> ModuleVisitor<B> for Size {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.val();
        self.add(tensor.shape().num_elements(), tensor.dtype());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        let tensor = param.val();
        self.add(tensor.shape().num_elements(), tensor.dtype());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<B, D, Bool>>) {
        let tensor = param.val();
        self.add(tensor.shape().num_elements(), tensor.dtype());
    }
}

/// Gives every parameter a new id.
struct Rename;

impl<B: Backend> ModuleMapper<B> for Rename {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (_, tensor, mapper) = param.consume();
        Param::from_mapped_value(ParamId::new(), tensor, mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        let (_, tensor, mapper) = param.consume();
        Param::from_mapped_value(ParamId::new(), tensor, mapper)
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        let (_, tensor, mapper) = param.consume();
        Param::from_mapped_value(ParamId::new(), tensor, mapper)
    }
}
