//! A transformer that says the next token, with a slot behind each block.

use burn::{
    module::{Module, Param},
    nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{
        Int, Tensor,
        activation::{gelu, softmax},
        backend::Backend,
    },
};
use kasmina::{
    Grafts,
    blending::BlendBackend,
    kernel_load::{
        SlotContract,
        blueprints::{Blueprint, Start},
    },
};

use super::{B, Device, Site};
use crate::growth::examples::Batch;

const HEADS: usize = 2;
const SLOTS: [&str; 2] = ["block-1", "block-2"];

#[derive(Clone, Copy, Debug)]
pub(crate) struct TransformerShape {
    vocabulary: usize,
    /// Tokens that it reads.
    length: usize,
    /// The place of the first token whose next one is asked for.
    asked_from: usize,
    width: usize,
    /// Hidden units of a block's perceptron.
    inner: usize,
}

/// Embeddings of tokens and places, two blocks, logits of the next tokens.
#[derive(Module, Debug)]
pub(crate) struct Transformer<B: Backend> {
    tokens: Embedding<B>,
    places: Param<Tensor<B, 2>>,
    blocks: Vec<Block<B>>,
    norm: LayerNorm<B>,
    head: Linear<B>,
    asked_from: usize,
}

/// Causal attention and a perceptron, each on the normalised activation, and each added to it.
#[derive(Module, Debug)]
struct Block<B: Backend> {
    attention_norm: LayerNorm<B>,
    query_key_value: Linear<B>,
    output: Linear<B>,
    norm: LayerNorm<B>,
    up: Linear<B>,
    down: Linear<B>,
}

impl TransformerShape {
    pub(crate) const fn new(vocabulary: usize, length: usize, asked_from: usize, width: usize) -> Self {
        Self { vocabulary, length, asked_from, width, inner: 2 * width }
    }
}

impl TransformerShape {
    pub(super) fn init(&self, device: &Device) -> Transformer<B> {
        let Self { vocabulary, length, asked_from, width, inner } = *self;
        let small = Initializer::Normal { mean: 0.0, std: 0.1 };
        let norm = || LayerNormConfig::new(width).init(device);
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let block = |_| Block {
            attention_norm: norm(),
            query_key_value: linear(width, 3 * width),
            output: linear(width, width),
            norm: norm(),
            up: linear(width, inner),
            down: linear(inner, width),
        };
        Transformer {
            tokens: EmbeddingConfig::new(vocabulary, width).with_initializer(small.clone()).init(device),
            places: small.init([length, width], device),
            blocks: SLOTS.iter().map(block).collect(),
            norm: norm(),
            head: linear(width, vocabulary),
            asked_from,
        }
    }

    /// The perceptrons stay twice as wide as the rest; they have the small steps.
    pub(super) fn widened(&self, wider: usize, extra: usize) -> Self {
        let width = self.width + HEADS * wider;
        Self { width, inner: self.inner + 2 * HEADS * wider + extra, ..*self }
    }

    /// Only blueprints that look at each token by itself: the others would see the tokens that are asked for.
    pub(super) fn sites(&self) -> Vec<Site> {
        let contract = SlotContract::f32(3, self.width, self.width);
        let site = |slot| {
            let manifest = Blueprint::Mlp.for_slot(contract, Start::Zero).ok()?;
            Some(Site { slot, contract, layers: manifest.layers })
        };
        SLOTS.into_iter().filter_map(site).collect()
    }

    pub(super) fn describe(&self) -> String {
        format!("transformer of {} blocks, {} wide, perceptrons of {}", SLOTS.len(), self.width, self.inner)
    }
}

impl<B: BlendBackend> Transformer<B> {
    pub(super) fn logits(&self, batch: &Batch, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let tokens = Tensor::<B, 2, Int>::from_data(batch.inputs.clone(), &Default::default());
        let mut x = self.tokens.forward(tokens) + self.places.val().unsqueeze();
        for (block, slot) in self.blocks.iter().zip(SLOTS) {
            x = grafts.at(slot, block.forward(x));
        }
        let [sequences, length, width] = x.dims();
        let asked = x.slice([0..sequences, self.asked_from..length, 0..width]);
        let logits = self.head.forward(self.norm.forward(asked));
        let vocabulary = logits.dims()[2];
        logits.reshape([-1, vocabulary as i32])
    }
}

impl<B: Backend> Block<B> {
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let x = x.clone() + self.attend(self.attention_norm.forward(x));
        let inner = gelu(self.up.forward(self.norm.forward(x.clone())));
        x + self.down.forward(inner)
    }

    fn attend(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [sequences, length, width] = x.dims();
        let all = self.query_key_value.forward(x);
        let heads = |part: usize| {
            let part = all.clone().slice([0..sequences, 0..length, part * width..(part + 1) * width]);
            part.reshape([sequences, length, HEADS, width / HEADS]).swap_dims(1, 2)
        };
        let scores = heads(0).matmul(heads(1).transpose()) / ((width / HEADS) as f64).sqrt();
        let later = Tensor::<B, 2>::ones([length, length], &scores.device()).triu(1).unsqueeze::<4>();
        let mixed = softmax(scores - later * 1e4, 3).matmul(heads(2));
        self.output.forward(mixed.swap_dims(1, 2).reshape([sequences, length, width]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::{
        examples::{Examples, Sequences},
        take_turns,
    };

    #[test]
    fn no_token_sees_those_that_come_after_it() {
        let _turn = take_turns();
        let network = TransformerShape::new(9, 6, 2, 8).init(&Device::default());
        let logits = |last: u8| -> Vec<f32> {
            let tokens = vec![1, 2, 3, 4, 5, last, 0];
            let sequences = Sequences { length: 6, asked_from: 2, tokens };
            let batch = Examples::Sequences(sequences).batch(&[0], None);
            network.logits(&batch, &mut Grafts::none()).into_data().iter::<f32>().collect()
        };
        let (one, other) = (logits(6), logits(7));
        assert_eq!(one.len(), 4 * 9);
        assert_eq!(one[..27], other[..27]);
        assert_ne!(one[27..], other[27..]);
    }
}
