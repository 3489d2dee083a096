//! Activations of the host's pass that the passes of seeds take over.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorPrimitive};
use kasmina_blending::BlendBackend;
use kasmina_leyline::SlotId;

use crate::grafts::Graft;

/// What a pass does with the activations that come as closures.
pub(crate) enum Reuse<B: BlendBackend> {
    /// It computes them.
    No,
    /// It computes them and keeps them.
    Keep(Activations<B>),
    /// It takes those of another pass.
    From(Activations<B>),
}

/// Detached activations, in the order in which the pass came to their slots. Holds tensors by reference, not by copy.
#[derive(Clone)]
pub(crate) struct Activations<B: BlendBackend> {
    order: Vec<String>,
    kept: BTreeMap<String, Kept<B>>,
}

#[derive(Clone)]
struct Kept<B: BlendBackend> {
    rank: usize,
    tap: Option<TensorPrimitive<B>>,
    h: TensorPrimitive<B>,
}

impl<B: BlendBackend> Default for Activations<B> {
    fn default() -> Self {
        Self { order: Vec::new(), kept: BTreeMap::new() }
    }
}

impl<B: BlendBackend> Reuse<B> {
    /// Notes that the pass has come to a slot whose activation is at hand.
    pub(crate) fn pass_by(&mut self, slot: &str) {
        if let Self::Keep(activations) = self {
            activations.order.push(slot.to_owned());
        }
    }

    pub(crate) fn keep<const D: usize>(&mut self, slot: &str, tap: Option<&Tensor<B, D>>, h: &Tensor<B, D>) {
        if let Self::Keep(activations) = self {
            let detached = |tensor: &Tensor<B, D>| tensor.clone().detach().into_primitive();
            let kept = Kept { rank: D, tap: tap.map(detached), h: detached(h) };
            activations.kept.insert(slot.to_owned(), kept);
        }
    }

    /// The tap and the activation of `slot`, if nothing but the host itself has been at work before it in this pass too.
    pub(crate) fn find<const D: usize>(
        &self,
        slot: &str,
        grafts: &BTreeMap<SlotId, Vec<Graft<B>>>,
    ) -> Option<(Option<Tensor<B, D>>, Tensor<B, D>)> {
        let Self::From(activations) = self else { return None };
        let kept = activations.kept.get(slot).filter(|kept| kept.rank == D)?;
        // A slot that the host comes to twice has two activations, and one was kept.
        if activations.order.iter().filter(|other| *other == slot).count() != 1 {
            return None;
        }
        let before = activations.order.iter().take_while(|other| *other != slot);
        let changed = before.filter_map(|other| grafts.get(other.as_str())).flatten().any(|graft| !graft.committed);
        let restore = |primitive: &TensorPrimitive<B>| Tensor::from_primitive(primitive.clone());
        (!changed).then(|| (kept.tap.as_ref().map(restore), restore(&kept.h)))
    }
}
