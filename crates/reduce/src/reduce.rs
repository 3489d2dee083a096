//! The trait.

use std::fmt;

use burn::tensor::{Tensor, backend::Backend};
use kasmina_leyline::SeedId;

use crate::ReduceError;

/// Which worker, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub rank: usize,
    /// At least 1.
    pub workers: usize,
}

impl Place {
    /// The only worker.
    pub const ALONE: Self = Self { rank: 0, workers: 1 };

    /// Whether there is no other worker.
    #[must_use]
    pub const fn is_alone(self) -> bool {
        self.workers <= 1
    }
}

/// What a tensor is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The gradients of the model: the host and its fossils.
    Host,
    /// The running statistics of the model, such as those of a batch normalisation.
    Statistics,
    /// The gradients of a seed's kernel.
    Seed(SeedId),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Statistics => f.write_str("running statistics"),
            Self::Seed(seed) => write!(f, "seed {seed}"),
        }
    }
}

/// Exchanges between the workers of a data-parallel run.
///
/// All workers make the same exchanges in the same order. Every method waits for all of them, or fails by a time-out of its own. After a
/// failure, the next exchange is a new one: workers that all gave up the same step can try it again.
pub trait Reduce<B: Backend>: Send {
    /// Which worker this is.
    fn place(&self) -> Place;

    /// The mean over all workers of a tensor of shape `[n]`, the same `n` on each. A worker that has nothing to add sends zeros.
    ///
    /// # Errors
    /// [`ReduceError`]: no worker may use what it has of this step.
    fn reduce(&mut self, part: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError>;

    /// What every worker has given, by rank.
    ///
    /// # Errors
    /// [`ReduceError`]: no worker may use what it has of this step.
    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError>;
}

impl<B: Backend, R: Reduce<B> + ?Sized> Reduce<B> for Box<R> {
    fn place(&self) -> Place {
        (**self).place()
    }

    fn reduce(&mut self, part: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        (**self).reduce(part, gradients)
    }

    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        (**self).gather(facts)
    }
}
