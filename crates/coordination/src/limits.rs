//! How much a message may hold.

use crate::plan::Order;

/// What a message may hold at most. The encoded message stays below the 1 MiB of an entry of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an encoded message. Default 1 MiB less 1 KiB for the envelope: what a bus carries.
    pub message_bytes: usize,
    /// Orders of a proposal or plan. Default 1,024: a hundred times what a policy sends in a hundred steps. What does
    /// not fit waits for the next round.
    pub orders: usize,
    /// Bytes of all orders of a proposal or plan, with their ids. Default 256 KiB: a message may hold a plan and
    /// the signatures of thousands.
    pub order_bytes: usize,
    /// Values of a sketch. Default 1,024.
    pub sketch: usize,
    /// Epochs of checkpoints that a proposal names. Default 16.
    pub checkpoints: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: (1 << 20) - 1_024, orders: 1_024, order_bytes: 256 << 10, sketch: 1_024, checkpoints: 16 }
    }
}

impl Limits {
    /// How many of these orders fit, from the front.
    pub(crate) fn fit(&self, orders: &[Order]) -> usize {
        let mut bytes = 0;
        let fits = |order: &&Order| {
            bytes += order.bytes.len() + order.id.as_str().len() + 32;
            bytes <= self.order_bytes
        };
        orders.iter().take(self.orders).take_while(fits).count()
    }
}
