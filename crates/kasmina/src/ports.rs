//! The manager as its neighbours see it, so that they can swap in a double.

use burn::{optim::Optimizer, tensor::Tensor};
use kasmina_blending::GraftBackend;
use kasmina_commands::Order;
use kasmina_grown::{Grown, HostModule};
use kasmina_isolation::Grafts;
use kasmina_leyline::v1::SeedState;
use kasmina_lifecycle::Transition;

use crate::{
    error::{CommandError, Refusal, StepError},
    manager::{Receipt, SeedManager},
    report::StepReport,
};

/// What a policy needs: to give orders, and to see what became of them.
pub trait CommandPort {
    /// Carries out a signed command.
    ///
    /// # Errors
    /// As [`SeedManager::submit`].
    fn submit(&mut self, wire: &[u8]) -> Result<Receipt, CommandError>;

    /// Carries out an order of the process that owns the manager.
    ///
    /// # Errors
    /// As [`SeedManager::order`].
    fn order(&mut self, order: Order) -> Result<Vec<Transition>, Refusal>;

    /// The states of all seeds, by id.
    fn seed_states(&self) -> Vec<SeedState>;
}

/// What a trainer needs: to train a model with whatever is grafted on it.
pub trait TrainPort<B: GraftBackend, H: HostModule<B>> {
    /// Trains the model on a batch, and with it every seed that learns.
    ///
    /// # Errors
    /// As [`SeedManager::train_batch`].
    fn train_batch<O: Optimizer<Grown<B, H>, B>>(
        &mut self,
        model: &mut Grown<B, H>,
        optimizer: &mut O,
        learning_rate: f64,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<StepReport, StepError>;

    /// Ends an epoch.
    fn end_epoch(&mut self);

    /// The epoch of a rollback that was ordered and must be done before the next batch.
    fn rollback_commanded(&self) -> Option<u64>;
}

impl<B: GraftBackend> CommandPort for SeedManager<B> {
    fn submit(&mut self, wire: &[u8]) -> Result<Receipt, CommandError> {
        Self::submit(self, wire)
    }

    fn order(&mut self, order: Order) -> Result<Vec<Transition>, Refusal> {
        Self::order(self, order)
    }

    fn seed_states(&self) -> Vec<SeedState> {
        self.export_seed_states()
    }
}

impl<B: GraftBackend, H: HostModule<B>> TrainPort<B, H> for SeedManager<B> {
    fn train_batch<O: Optimizer<Grown<B, H>, B>>(
        &mut self,
        model: &mut Grown<B, H>,
        optimizer: &mut O,
        learning_rate: f64,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<StepReport, StepError> {
        Self::train_batch(self, model, optimizer, learning_rate, forward)
    }

    fn end_epoch(&mut self) {
        Self::end_epoch(self);
    }

    fn rollback_commanded(&self) -> Option<u64> {
        Self::rollback_commanded(self)
    }
}
