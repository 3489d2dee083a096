//! What leaves a slot, bit for bit.

use burn::tensor::{Tensor, TensorData};
use kasmina_blending::BlendBackend;
use kasmina_leyline::SlotId;

/// The activations that left one slot, in the order of the visits, read from the device.
#[derive(Debug)]
pub(crate) struct Watch {
    slot: SlotId,
    seen: Vec<TensorData>,
}

impl Watch {
    pub(crate) const fn new(slot: SlotId) -> Self {
        Self { slot, seen: Vec::new() }
    }

    pub(crate) fn see<B: BlendBackend, const D: usize>(&mut self, slot: &SlotId, h: &Tensor<B, D>) {
        if *slot == self.slot {
            self.seen.push(h.to_data());
        }
    }

    pub(crate) const fn has_seen(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Whether something was seen, and the other saw the same bits in the same shapes.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.has_seen() && self.repeats(other)
    }

    /// Whether the other saw the same bits in the same shapes, or nothing as this one did.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        let same = |(one, other): (&TensorData, &TensorData)| {
            one.shape == other.shape && one.dtype == other.dtype && one.as_bytes() == other.as_bytes()
        };
        self.seen.len() == other.seen.len() && self.seen.iter().zip(&other.seen).all(same)
    }
}
