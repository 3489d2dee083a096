//! Messages that are lost, late, repeated, overtaken and kept back.

use fastrand::Rng;

use crate::WorkerId;

/// How bad the network is.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// Of 1,000 messages.
    pub(super) lost: u32,
    pub(super) repeated: u32,
    /// Of 1,000 messages, so many are very late.
    pub(super) held_up: u32,
    /// In microseconds.
    pub(super) delay: u64,
    /// The side of each worker: messages do not cross.
    pub(super) sides: Vec<u8>,
}

impl Network {
    pub(super) fn drawn(random: &mut Rng, workers: usize) -> Self {
        let is_bad = random.bool();
        Self {
            lost: if is_bad { random.u32(0..400) } else { 0 },
            repeated: if random.bool() { random.u32(0..300) } else { 0 },
            held_up: if random.bool() { random.u32(0..100) } else { 0 },
            delay: 1 << random.u32(8..16),
            sides: vec![0; workers],
        }
    }

    pub(super) fn heal(&mut self) {
        *self = Self { lost: 0, repeated: 0, held_up: 0, delay: 500, sides: vec![0; self.sides.len()] };
    }

    /// When copies of a message arrive, in microseconds from now.
    pub(super) fn copies(&self, random: &mut Rng, from: WorkerId, to: WorkerId) -> Vec<u64> {
        let side = |worker: WorkerId| self.sides.get(usize::from(worker.0));
        if side(from) != side(to) || random.u32(0..1_000) < self.lost {
            return Vec::new();
        }
        let mut delays = vec![self.delay(random)];
        if random.u32(0..1_000) < self.repeated {
            delays.push(self.delay(random) * 3);
        }
        delays
    }

    fn delay(&self, random: &mut Rng) -> u64 {
        let usual = random.u64(self.delay / 4..=self.delay);
        if random.u32(0..1_000) < self.held_up { usual + random.u64(0..3_000_000) } else { usual }
    }
}
