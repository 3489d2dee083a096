//! Activations of the host's pass that the passes of seeds use again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use burn::tensor::{Tensor, TensorPrimitive};
use kasmina_blending::BlendBackend;
use kasmina_leyline::SlotId;

/// How a pass gets lazy activations.
pub(crate) enum Reuse<B: BlendBackend> {
    /// It computes them.
    No,
    /// It computes them and keeps them.
    Keep(BTreeMap<SlotId, Kept<B>>),
    /// It reuses those of another pass, up to the first of these slots.
    From(Activations<B>, BTreeSet<SlotId>),
}

/// The detached activations of one pass, and the order of its slots. A clone shares both.
pub struct Activations<B: BlendBackend>(Arc<Of<B>>);

struct Of<B: BlendBackend> {
    order: Vec<SlotId>,
    kept: BTreeMap<SlotId, Kept<B>>,
}

pub(crate) struct Kept<B: BlendBackend> {
    rank: usize,
    tap: Option<TensorPrimitive<B>>,
    h: TensorPrimitive<B>,
}

impl<B: BlendBackend> Kept<B> {
    pub(crate) fn new<const D: usize>(tap: Option<&Tensor<B, D>>, h: &Tensor<B, D>) -> Self {
        let detached = |tensor: &Tensor<B, D>| tensor.clone().detach().into_primitive();
        Self { rank: D, tap: tap.map(detached), h: detached(h) }
    }
}

impl<B: BlendBackend> Activations<B> {
    pub(crate) fn new(order: Vec<SlotId>, kept: BTreeMap<SlotId, Kept<B>>) -> Self {
        Self(Arc::new(Of { order, kept }))
    }

    /// The tap and the activation of `slot`, if none of the `unsettled` slots comes before it.
    ///
    /// What is reused was drawn in the host's pass. So two passes may be compared only if they reuse the same, whichever kernels
    /// are in them.
    pub(crate) fn find<const D: usize>(
        &self,
        slot: &str,
        unsettled: &BTreeSet<SlotId>,
    ) -> Option<(Option<Tensor<B, D>>, Tensor<B, D>)> {
        let Of { order, kept } = &*self.0;
        let kept = kept.get(slot).filter(|kept| kept.rank == D)?;
        // If the host visits a slot twice, there are two activations, and only one was kept.
        if order.iter().filter(|other| other.as_str() == slot).count() != 1 {
            return None;
        }
        let changed = order.iter().take_while(|other| other.as_str() != slot).any(|other| unsettled.contains(other));
        let restore = |primitive: &TensorPrimitive<B>| Tensor::from_primitive(primitive.clone());
        (!changed).then(|| (kept.tap.as_ref().map(restore), restore(&kept.h)))
    }
}

impl<B: BlendBackend> Default for Activations<B> {
    fn default() -> Self {
        Self::new(Vec::new(), BTreeMap::new())
    }
}

impl<B: BlendBackend> Clone for Activations<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: BlendBackend> fmt::Debug for Activations<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.kept.keys()).finish()
    }
}
