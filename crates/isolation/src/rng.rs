//! The three streams of random numbers of a step.

use burn::tensor::backend::Backend;
use kasmina_leyline::SlotId;

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
        if let Some(state) = self.state(stream) {
            B::seed(self.device, state);
        }
    }

    /// The draws of a pass in the stream of the seeds; none without a seed.
    pub(crate) fn draws(&self) -> Option<Draws<B>> {
        let state = self.state(RngStream::Seeds)?;
        Some(Draws { device: self.device.clone(), state })
    }

    fn state(&self, stream: RngStream) -> Option<u64> {
        let stream = match stream {
            RngStream::Host => 0,
            RngStream::Seeds => 1,
            RngStream::Trainer => 2,
        };
        let seed = self.seed?;
        Some(mix(seed ^ mix(self.step.wrapping_mul(3).wrapping_add(stream))))
    }
}

/// Lets a pass draw from a new beginning after every visit of a slot. So what it draws there does not depend on what it has drawn
/// before: a pass that skips a part of the host, or has a kernel more or less, has the same masks as another one.
#[derive(Debug)]
pub(crate) struct Draws<B: Backend> {
    device: B::Device,
    state: u64,
}

impl<B: Backend> Draws<B> {
    /// `visit` is the number of visits of the slot before this one.
    pub(crate) fn start_after(&self, slot: &SlotId, visit: usize) {
        // FNV-1a: the name counts, not its place in the order of the slots.
        let name = slot
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        B::seed(&self.device, mix(self.state ^ mix(name.wrapping_add(visit as u64))));
    }
}

/// The finaliser of splitmix64, which makes unrelated numbers of neighbouring ones.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
