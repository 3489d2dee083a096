//! How long a kernel takes to warm up.

use std::time::Duration;

use burn::tensor::{Tensor, backend::Backend};
use kasmina_kernel_load::{KernelModule, ShapeError, VerifiedArtifact};
use kasmina_safety::Clock;

/// Runs kernels to find out how long they take.
pub trait Prewarm: Send {
    /// Builds a kernel and runs it `1 + runs` times.
    ///
    /// # Errors
    /// [`ShapeError`] if it does not run on the input.
    fn warm(&self, kernel: &VerifiedArtifact, runs: usize, clock: &dyn Clock) -> Result<Warmth, ShapeError>;
}

/// How long a kernel took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warmth {
    /// Building it and running it once.
    pub first: Duration,
    /// Every later run.
    pub later: Vec<Duration>,
}

/// Runs kernels on a device of a backend: one forward pass without a graph, over zeros of the contract's shape. The
/// batch is 1, with 16 tokens for rank 3 and 32 by 32 pixels for rank 4, our choice: the contract leaves them open.
#[derive(Clone, Debug)]
pub struct OnDevice<B: Backend> {
    device: B::Device,
}

impl<B: Backend> OnDevice<B> {
    /// Runs them on this device.
    #[must_use]
    pub fn new(device: B::Device) -> Self {
        Self { device }
    }

    fn time<const D: usize>(
        &self,
        kernel: &VerifiedArtifact,
        shape: [usize; D],
        runs: usize,
        clock: &dyn Clock,
    ) -> Result<Warmth, ShapeError> {
        let dtype = kernel.manifest().contract.dtype.dtype();
        let input = Tensor::<B, D>::zeros(shape, &self.device).cast(dtype);
        let run = |module: &KernelModule<B>| module.forward(input.clone()).map(|output| drop(output.into_data()));
        let began = clock.monotonic();
        let module = kernel.build::<B>(&self.device);
        run(&module)?;
        let mut before = clock.monotonic();
        let first = before.since(began);
        let mut later = Vec::with_capacity(runs);
        for _ in 0..runs {
            run(&module)?;
            let now = clock.monotonic();
            later.push(now.since(before));
            before = now;
        }
        Ok(Warmth { first, later })
    }
}

impl<B: Backend> Prewarm for OnDevice<B> {
    fn warm(&self, kernel: &VerifiedArtifact, runs: usize, clock: &dyn Clock) -> Result<Warmth, ShapeError> {
        let contract = &kernel.manifest().contract;
        let channels = contract.channels_in;
        match contract.rank {
            2 => self.time(kernel, [1, channels], runs, clock),
            3 => self.time(kernel, [1, 16, channels], runs, clock),
            4 => self.time(kernel, [1, channels, 32, 32], runs, clock),
            // No manifest with such a contract is verified.
            got => Err(ShapeError::Rank { expected: 4, got }),
        }
    }
}

/// The times that the messages carry, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) first: f32,
    pub(crate) p50: f32,
    pub(crate) p95: f32,
}

impl Times {
    pub(crate) fn of(Warmth { first, mut later }: Warmth) -> Self {
        later.sort_unstable();
        // Nearest rank: the smallest value that so many hundredths are not above.
        let percentile = |hundredths: usize| {
            let rank = (later.len() * hundredths).div_ceil(100);
            millis(later.get(rank.saturating_sub(1)).copied().unwrap_or(first))
        };
        Self { first: millis(first), p50: percentile(50), p95: percentile(95) }
    }
}

fn millis(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let later = (1..=20).rev().map(Duration::from_millis).collect();
        let times = Times::of(Warmth { first: Duration::from_millis(50), later });
        assert_eq!(times, Times { first: 50.0, p50: 10.0, p95: 19.0 });
    }

    #[test]
    fn without_later_runs_the_first_one_counts() {
        let times = Times::of(Warmth { first: Duration::from_millis(3), later: Vec::new() });
        assert_eq!(times, Times { first: 3.0, p50: 3.0, p95: 3.0 });
    }
}
