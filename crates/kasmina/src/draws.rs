//! Who draws the backend's random numbers when.

use crate::{GraftBackend, SeedManager};

/// The random numbers of a step are drawn from three sources that do not depend on each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draws {
    /// In the host's pass.
    Host,
    /// In the passes of seeds.
    Seeds,
    /// Between this step and the next, by the trainer.
    Trainer,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Seeds the backend's random numbers from the settings, the number of the step, and who is about to draw.
    pub(crate) fn reseed(&self, draws: Draws) {
        if self.settings.training.reseed {
            let who = match draws {
                Draws::Host => 0,
                Draws::Seeds => 1,
                Draws::Trainer => 2,
            };
            let state = self.settings.training.rng_seed ^ mix(self.step.wrapping_mul(3).wrapping_add(who));
            B::seed(&self.device, mix(state));
        }
    }
}

/// The finaliser of splitmix64: neighbouring numbers become unrelated ones.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
