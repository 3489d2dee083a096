//! One worker.

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
