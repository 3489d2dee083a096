//! Activations of the host's pass that the passes of seeds use again.

use std::{collections::BTreeMap, fmt, sync::Arc};

use burn::tensor::{Tensor, TensorPrimitive};
use kasmina_blending::BlendBackend;
use kasmina_leyline::SlotId;

use crate::grafts::Graft;

/// How a pass gets lazy activations.
pub(crate) enum Reuse<B: BlendBackend> {
    /// It computes them.
    No,
    /// It computes them and keeps them.
    Keep(BTreeMap<SlotId, Kept<B>>),
    /// It reuses those of another pass.
    From(Activations<B>),
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

    /// The tap and the activation of `slot`, if with these grafts too only the host itself has computed what comes before it.
    pub(crate) fn find<const D: usize>(
        &self,
        slot: &str,
        grafts: &BTreeMap<SlotId, Vec<Graft<B>>>,
    ) -> Option<(Option<Tensor<B, D>>, Tensor<B, D>)> {
        let Of { order, kept } = &*self.0;
        let kept = kept.get(slot).filter(|kept| kept.rank == D)?;
        // If the host visits a slot twice, there are two activations, and only one was kept.
        if order.iter().filter(|other| other.as_str() == slot).count() != 1 {
            return None;
        }
        let before = order.iter().take_while(|other| other.as_str() != slot);
        let changed = before.filter_map(|other| grafts.get(other)).flatten().any(|graft| !graft.committed());
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
