//! A transformer.

use burn::{
    module::Module,
    nn::{
        Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig},
    },
    tensor::{Tensor, backend::Backend},
};
use kasmina::{GraftBackend, Grafts, kernel_load::Manifest};

use super::{Network, SLOTS, bottleneck};

const TOKENS: usize = 32;
const BATCH: usize = 16;
const HEADS: usize = 4;

/// Blocks of one width with four heads, 12 width² parameters each, on 32 tokens and a batch of 16, with a slot behind each block. A seed is a
/// bottleneck of half the width.
#[derive(Module, Debug)]
pub(crate) struct Transformer<B: Backend> {
    blocks: Vec<Block<B>>,
    head: Linear<B>,
    width: usize,
}

#[derive(Module, Debug)]
struct Block<B: Backend> {
    before_attention: LayerNorm<B>,
    attention: MultiHeadAttention<B>,
    before_mlp: LayerNorm<B>,
    up: Linear<B>,
    gelu: Gelu,
    down: Linear<B>,
}

impl<B: Backend> Block<B> {
    fn init(width: usize, device: &B::Device) -> Self {
        Self {
            before_attention: LayerNormConfig::new(width).init(device),
            attention: MultiHeadAttentionConfig::new(width, HEADS).with_dropout(0.0).init(device),
            before_mlp: LayerNormConfig::new(width).init(device),
            up: LinearConfig::new(width, 4 * width).init(device),
            gelu: Gelu::new(),
            down: LinearConfig::new(4 * width, width).init(device),
        }
    }

    fn forward(&self, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let input = MhaInput::self_attn(self.before_attention.forward(h.clone()));
        let h = h + self.attention.forward(input).context;
        let mlp = self.up.forward(self.before_mlp.forward(h.clone()));
        h + self.down.forward(self.gelu.forward(mlp))
    }
}

impl<B: Backend> Transformer<B> {
    pub(crate) fn init(width: usize, blocks: usize, device: &B::Device) -> Self {
        Self {
            blocks: (0..blocks).map(|_| Block::init(width, device)).collect(),
            head: LinearConfig::new(width, width).init(device),
            width,
        }
    }
}

impl<B: GraftBackend> Network<B> for Transformer<B> {
    fn input(&self) -> [usize; 2] {
        [BATCH * TOKENS, self.width]
    }

    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let mut h = x.reshape([BATCH, TOKENS, self.width]);
        for (slot, block) in SLOTS.iter().zip(&self.blocks) {
            h = grafts.at(slot, block.forward(h));
        }
        self.head.forward(h).reshape([BATCH * TOKENS, self.width])
    }

    fn kernel(&self) -> Manifest {
        bottleneck(3, self.width, self.width / 2, self.width)
    }

    fn channels(&self) -> usize {
        self.width
    }

    fn samples(&self) -> usize {
        BATCH
    }
}
