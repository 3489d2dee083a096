//! The side channel through which activations leave a forward pass.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::{Tensor, TensorMetadata, TensorPrimitive, backend::Backend, ops::FloatTensor};

use crate::DistillError;

/// Activations by name, recorded inside of a forward pass and read outside of it. A pass that records a name again replaces what was there.
///
/// A student's pass records with its graph, so that a loss on what is read goes back through it.
pub struct Activations<B: Backend>(Mutex<BTreeMap<String, FloatTensor<B>>>);

impl<B: Backend> Activations<B> {
    /// Without any activation.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Keeps an activation under this name, and gives it back unchanged.
    #[must_use = "record in passing: `let h = activations.record(\"mid\", h);`"]
    pub fn record<const D: usize>(&self, name: &str, h: Tensor<B, D>) -> Tensor<B, D> {
        self.locked().insert(name.to_owned(), h.clone().into_primitive().tensor());
        h
    }

    /// The activation of this name.
    ///
    /// # Errors
    /// [`DistillError::UnknownActivation`] if none was recorded, or one of another rank.
    pub fn read<const D: usize>(&self, name: &str) -> Result<Tensor<B, D>, DistillError> {
        let found = self.locked().get(name).filter(|found| found.shape().num_dims() == D).cloned();
        let unknown = || DistillError::UnknownActivation { name: name.to_owned(), rank: D };
        found.map(|found| Tensor::from_primitive(TensorPrimitive::Float(found))).ok_or_else(unknown)
    }

    /// The names that were recorded, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.locked().keys().cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.locked().clear();
    }

    /// What the activations take in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.locked().values().map(|tensor| (tensor.shape().num_elements() * tensor.dtype().size()) as u64).sum()
    }

    /// The map is whole whatever a thread that held it did.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, FloatTensor<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> Default for Activations<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> fmt::Debug for Activations<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
