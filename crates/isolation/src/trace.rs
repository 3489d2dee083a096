//! What a pass leaves behind.

use std::{collections::BTreeMap, fmt, time::Duration};

use burn::tensor::Tensor;
use kasmina_blending::BlendBackend;
use kasmina_leyline::{SeedId, SlotId};

use crate::{Activations, SlotShape};

/// Which pass a host's forward runs in. A closure that keeps metrics counts a batch once by counting [`Host`](Self::Host)
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// A host without any graft: [`Grafts::none`](crate::Grafts::none).
    Bare,
    /// The pass that trains the host. One for each batch.
    Host,
    /// The host's pass over the same batch again, because a fossil has spoilt the first.
    HostAgain,
    /// The pass in which one seed learns.
    Seed,
    /// The pass in which one seed is measured.
    Probe,
    /// The network as inference sees it.
    Live,
    /// The network without the seeds under trial.
    Committed,
    /// A look at the host's slots.
    Attach,
}

/// A graft that could not do its part in a pass. The host's activation went on as if the seed were not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The seed that owns the graft.
    pub seed: SeedId,
    /// The graft's slot.
    pub slot: SlotId,
    /// Why, machine-readable.
    pub reason: &'static str,
    /// Why, for a reader.
    pub detail: String,
}

/// What a pass leaves behind: what its slots showed, and what went wrong.
pub struct Trace<B: BlendBackend> {
    /// Which pass it was.
    pub pass: PassKind,
    /// What each slot showed when the pass first came to it.
    pub shapes: BTreeMap<SlotId, SlotShape>,
    /// The slots in the order in which the pass came to them. A slot that it came to twice is here twice.
    pub order: Vec<SlotId>,
    /// Grafts that could not do their part.
    pub faults: Vec<Fault>,
    /// The logits that the host offered, `[batch, classes]`, detached.
    pub logits: Option<Tensor<B, 2>>,
    /// Lazy activations, if the pass kept them.
    pub activations: Activations<B>,
    /// The time that kernels and blends took. On a device that works asynchronously, the time to launch them.
    pub blend_time: Duration,
}

impl<B: BlendBackend> Trace<B> {
    pub(crate) fn new(pass: PassKind) -> Self {
        Self {
            pass,
            shapes: BTreeMap::new(),
            order: Vec::new(),
            faults: Vec::new(),
            logits: None,
            activations: Activations::default(),
            blend_time: Duration::ZERO,
        }
    }

    /// Whether the pass came to the slot.
    #[must_use]
    pub fn reached(&self, slot: &SlotId) -> bool {
        self.shapes.contains_key(slot)
    }

    /// Whether the seed's graft could not do its part.
    #[must_use]
    pub fn failed(&self, seed: &SeedId) -> bool {
        self.faults.iter().any(|fault| fault.seed == *seed)
    }
}

impl<B: BlendBackend> fmt::Debug for Trace<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("pass", &self.pass)
            .field("order", &self.order)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
