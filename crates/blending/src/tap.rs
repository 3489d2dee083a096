//! The gradient at a place in the host, for a seed that learns behind it.

use std::sync::{Arc, OnceLock};

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::BlendBackend;

pub(crate) type Cell<B> = Arc<OnceLock<FloatTensor<B>>>;

/// Where a [`tap`] leaves the gradient that came to it in the backward pass. A clone shares the contents. One stash goes with
/// one tap.
#[derive(Clone, Debug)]
pub struct Stash<B: Backend>(Cell<B>);

impl<B: Backend> Stash<B> {
    /// An empty stash.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// The gradient of the tapped tensor, of its shape, without a graph. `None` before the backward pass, and after it if the
    /// loss does not depend on what came out of the tap. `D` is the rank of the tapped tensor.
    #[must_use]
    pub fn gradient<const D: usize>(&self) -> Option<Tensor<B, D>> {
        self.0.get().map(|gradient| Tensor::from_primitive(TensorPrimitive::Float(gradient.clone())))
    }

    pub(crate) fn into_cell(self) -> Cell<B> {
        self.0
    }
}

impl<B: Backend> Default for Stash<B> {
    fn default() -> Self {
        Self::new()
    }
}

/// The host's own tensor, behind a node of its own in the graph.
///
/// The node has one parent, the host, and passes the gradient on to it unchanged; if there is a `stash`, it leaves a copy there.
/// The graph is the same node for node, and as deep, with a stash and without one. A host that has no gradient is tracked from
/// here on: without that, no gradient would come to the stash.
///
/// The value is not copied. Without autodiff, this returns the host, and the stash stays empty.
#[must_use]
pub fn tap<B: BlendBackend, const D: usize>(host: Tensor<B, D>, stash: Option<&Stash<B>>) -> Tensor<B, D> {
    let tapped = B::tap(host.into_primitive().tensor(), stash.cloned());
    Tensor::from_primitive(TensorPrimitive::Float(tapped))
}

/// A scalar of shape `[1]` whose backward pass gives `seed` the gradient `gradient`: the vector-Jacobian product of whatever
/// computed the seed. The scalar's value has no meaning. `gradient` has the shape, dtype and device of `seed`.
#[must_use]
pub fn pull_back<B: BlendBackend, const D: usize>(seed: Tensor<B, D>, gradient: Tensor<B, D>) -> Tensor<B, 1> {
    let scalar = B::pull_back(seed.into_primitive().tensor(), gradient.into_primitive().tensor());
    Tensor::from_primitive(TensorPrimitive::Float(scalar))
}
