//! One worker: because there are no others, or because it has not met them.

use burn::tensor::{Tensor, backend::Backend};

use crate::{Part, Place, Reduce, ReduceError};

/// One worker, whose means are its own. A manager that has this makes no exchange at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl<B: Backend> Reduce<B> for Alone {
    fn place(&self) -> Place {
        Place::ALONE
    }

    fn reduce(&mut self, _: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        Ok(gradients)
    }

    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        Ok(vec![facts])
    }
}

/// A worker that has not met the others yet. Every exchange fails with [`ReduceError::NotMet`], so that it takes no step on its own.
#[derive(Clone, Copy, Debug)]
pub struct Unmet(pub Place);

impl<B: Backend> Reduce<B> for Unmet {
    fn place(&self) -> Place {
        self.0
    }

    fn reduce(&mut self, _: &Part, _: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        Err(ReduceError::NotMet)
    }

    fn gather(&mut self, _: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        Err(ReduceError::NotMet)
    }
}
