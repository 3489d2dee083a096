//! The trace of a pass.

use std::{collections::BTreeMap, fmt, time::Duration};

use burn::tensor::Tensor;
use kasmina_blending::BlendBackend;
use kasmina_leyline::{SeedId, SlotId};

use crate::{Activations, Idle, SlotShape};

/// The kind of pass that a host's forward runs in. A closure that keeps metrics counts each batch once if it counts only
/// [`Host`](Self::Host).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// A host without any graft: [`Grafts::none`](crate::Grafts::none).
    Bare,
    /// The pass that trains the host: one for each batch.
    Host,
    /// The pass in which all seeds learn that are blended in.
    Learning,
    /// A forward pass that only measures: [`measure`](crate::measure), [`prove_pause`](crate::prove_pause), and the search for the
    /// seeds that make a loss not finite.
    Measure,
    /// The pass that estimates running statistics: [`refit_statistics`](crate::refit_statistics).
    Refit,
    /// The network as inference sees it.
    Live,
    /// The network without the seeds under trial.
    Committed,
    /// The pass that finds the host's slots.
    Attach,
}

/// A graft failed in a pass. The pass used the host's activation as if the seed were not there.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub seed: SeedId,
    pub slot: SlotId,
    /// The machine-readable reason.
    pub reason: &'static str,
    /// An explanation for people.
    pub detail: String,
}

impl Fault {
    /// The host's forward does not call the slot of a seed that was to be measured there.
    pub(crate) fn unreached(seed: &SeedId, slot: &SlotId) -> Self {
        let detail = "the host's forward does not call its slot".to_owned();
        Self { seed: seed.clone(), slot: slot.clone(), reason: Idle::SlotNotReached.reason(), detail }
    }
}

/// The trace of a pass: its slots, and what failed.
pub struct Trace<B: BlendBackend> {
    /// The kind of pass.
    pub pass: PassKind,
    /// The activations of each slot, at its first visit.
    pub shapes: BTreeMap<SlotId, SlotShape>,
    /// The slots in the order of the visits. A slot that was visited twice is listed twice.
    pub order: Vec<SlotId>,
    /// The grafts that failed.
    pub faults: Vec<Fault>,
    /// The logits that the host gave, `[batch, classes]`, detached.
    pub logits: Option<Tensor<B, 2>>,
    /// Lazy activations, if the pass kept them.
    pub activations: Activations<B>,
    /// The time that the device took for each seed's kernel and blend, in a pass behind the barrier that
    /// [times them](crate::Cast::timing_blends).
    pub blend_times: BTreeMap<SeedId, Duration>,
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
            blend_times: BTreeMap::new(),
        }
    }

    /// Whether the pass reached the slot.
    #[must_use]
    pub fn reached(&self, slot: &SlotId) -> bool {
        self.shapes.contains_key(slot)
    }

    /// Whether the seed's graft failed.
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
