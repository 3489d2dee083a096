//! The three streams of random numbers of a step.

use burn::tensor::backend::Backend;

/// A stream of a step's random numbers. The three streams are independent, so that the passes of seeds do not change what the host
/// draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RngStream {
    /// Drawn in the host's pass.
    Host,
    /// Drawn in the passes of seeds.
    Seeds,
    /// Drawn between this step and the next, by the trainer.
    Trainer,
}

/// Seeds the backend's random number generator (it has only one) for each stream of a step.
#[derive(Debug)]
pub struct StepRng<'a, B: Backend> {
    device: &'a B::Device,
    seed: Option<u64>,
    step: u64,
}

impl<'a, B: Backend> StepRng<'a, B> {
    /// The streams of `step`, derived from `seed`. Without a seed, the backend's generator is left alone.
    #[must_use]
    pub const fn new(device: &'a B::Device, seed: Option<u64>, step: u64) -> Self {
        Self { device, seed, step }
    }

    /// Makes the backend draw from the beginning of `stream` from now on.
    pub fn start(&self, stream: RngStream) {
        let Some(seed) = self.seed else { return };
        let stream = match stream {
            RngStream::Host => 0,
            RngStream::Seeds => 1,
            RngStream::Trainer => 2,
        };
        let state = seed ^ mix(self.step.wrapping_mul(3).wrapping_add(stream));
        B::seed(self.device, mix(state));
    }
}

/// The finaliser of splitmix64, which makes unrelated numbers of neighbouring ones.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
