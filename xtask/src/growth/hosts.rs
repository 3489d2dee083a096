//! The networks that grow.

mod cnn;
mod mlp;
mod transformer;

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    tensor::{
        Tensor,
        backend::{Backend, BackendTypes},
    },
};
use kasmina::{
    Grafts,
    blending::BlendBackend,
    kernel_load::{LayerSpec, SlotContract},
};

use self::{cnn::Cnn, mlp::Mlp, transformer::Transformer};
pub(super) use self::{cnn::CnnShape, mlp::MlpShape, transformer::TransformerShape};
use super::examples::Batch;

pub(super) type B = Autodiff<Flex>;
pub(super) type Device = <B as BackendTypes>::Device;

/// A network with slots. One type for all kinds, so that everything that trains is compiled once.
#[allow(
    clippy::large_enum_variant,
    reason = "Burn does not take a box as a module, and there is one network at a time"
)]
#[derive(Module, Debug)]
pub(super) enum Network<B: Backend> {
    Mlp(Mlp<B>),
    Cnn(Cnn<B>),
    Transformer(Transformer<B>),
}

/// The widths of a network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Mlp(MlpShape),
    Cnn(CnnShape),
    Transformer(TransformerShape),
}

/// A slot and the layers of the seeds for it. Their last map starts at zero, and they are added to the activation.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) slot: &'static str,
    pub(super) contract: SlotContract,
    pub(super) layers: Vec<LayerSpec>,
}

impl<B: BlendBackend> Network<B> {
    /// Logits, one row for each label of the batch.
    pub(super) fn logits(&self, batch: &Batch, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        match self {
            Self::Mlp(network) => network.logits(batch, grafts),
            Self::Cnn(network) => network.logits(batch, grafts),
            Self::Transformer(network) => network.logits(batch, grafts),
        }
    }
}

impl Shape {
    pub(super) fn init(&self, device: &Device) -> Network<B> {
        match self {
            Self::Mlp(shape) => Network::Mlp(shape.init(device)),
            Self::Cnn(shape) => Network::Cnn(shape.init(device)),
            Self::Transformer(shape) => Network::Transformer(shape.init(device)),
        }
    }

    /// The same kind `wider` steps wider throughout, and then `extra` steps in the one width whose steps are small.
    fn widened(&self, wider: usize, extra: usize) -> Self {
        match self {
            Self::Mlp(shape) => Self::Mlp(shape.widened(wider + extra)),
            Self::Cnn(shape) => Self::Cnn(shape.widened(wider, extra)),
            Self::Transformer(shape) => Self::Transformer(shape.widened(wider, extra)),
        }
    }

    /// Where seeds can be planted, and which.
    pub(super) fn sites(&self) -> Vec<Site> {
        match self {
            Self::Mlp(shape) => shape.sites(),
            Self::Cnn(shape) => shape.sites(),
            Self::Transformer(shape) => shape.sites(),
        }
    }

    /// Widths, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Mlp(shape) => shape.describe(),
            Self::Cnn(shape) => shape.describe(),
            Self::Transformer(shape) => shape.describe(),
        }
    }

    pub(super) fn parameters(&self) -> usize {
        self.init(&Device::default()).num_params()
    }
}

/// The network of this shape that has at least so many parameters, and as few as possible.
pub(super) fn widest(base: &Shape, parameters: usize) -> Shape {
    let below = |wider: &usize| base.widened(*wider, 0).parameters() <= parameters;
    let wider = (1..).take_while(below).last().unwrap_or(0);
    let extra = (0..).find(|extra| base.widened(wider, *extra).parameters() >= parameters);
    base.widened(wider, extra.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::take_turns;

    fn matches(base: Shape) {
        let least = base.parameters();
        assert_eq!(widest(&base, least).parameters(), least);
        for target in [2 * least, 2 * least + 1, 5_000.max(2 * least), 25_000] {
            let found = widest(&base, target).parameters();
            let most = target + target / 20;
            assert!((target..=most).contains(&found), "{} for {target}: {found}", base.describe());
        }
    }

    #[test]
    fn a_widened_network_has_up_to_5_percent_more() {
        let _turn = take_turns();
        matches(Shape::Mlp(MlpShape::digits()));
        matches(Shape::Cnn(CnnShape::of(8)));
        matches(Shape::Cnn(CnnShape::of(28)));
        matches(Shape::Transformer(TransformerShape::new(12, 11, 7, 12)));
    }
}
