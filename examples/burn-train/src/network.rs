//! What has grown, under a learner without a manager.

use burn::{
    backend::Flex,
    module::Module,
    tensor::{Tensor, backend::Backend},
};
use burn_train::{InferenceStep, TrainOutput, TrainStep};
use kasmina::{blending::BlendBackend, grown::Grown};

use crate::{Batch, Host, Loss, Train};

/// A grown host. It needs a type of its own, because neither [`Grown`] nor [`TrainStep`] is this crate's.
#[derive(Module, Debug)]
pub struct Network<B: Backend> {
    /// The host and its fossils.
    pub grown: Grown<B, Host<B>>,
}

impl<B: BlendBackend> Network<B> {
    /// The loss on a batch. Fossils learn with the host.
    pub fn loss(&self, batch: &Batch<B>) -> Tensor<B, 1> {
        self.grown.host.loss(batch, &mut self.grown.grafts())
    }
}

impl TrainStep for Network<Train> {
    type Input = Batch<Train>;
    type Output = Loss;

    fn step(&self, batch: Batch<Train>) -> TrainOutput<Loss> {
        let loss = self.loss(&batch);
        let item = Loss(loss.clone().into_scalar());
        TrainOutput::new::<Train, _>(self, loss.backward(), item)
    }
}

impl InferenceStep for Network<Flex> {
    type Input = Batch<Flex>;
    type Output = Loss;

    fn step(&self, batch: Batch<Flex>) -> Loss {
        Loss(self.loss(&batch).into_scalar())
    }
}
