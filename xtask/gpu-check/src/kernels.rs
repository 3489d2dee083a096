//! Kernels with every layer, on random shapes, forward and backward.

use kasmina::{
    GraftBackend,
    kernel_load::{
        Activation, ArtifactLimits, Digests, Initialisation, LayerSpec, Manifest, SlotContract, VerifiedArtifact,
        blueprints::{Blueprint, Start},
        initialise, verify,
    },
    leyline::BlueprintId,
};

use crate::{
    Cases, Reference,
    failure::{Failure, refused},
    numbers::{Numbers, compare, gradients, random, read},
    report::Checked,
};

/// Sums of up to some hundred products, in another order and with fused multiply-adds, and functions that a device may approximate.
const TOLERANCE: f64 = 1e-3;

pub(crate) fn check<B: GraftBackend>(cases: Cases) -> Result<Checked, Failure> {
    let mut draw = fastrand::Rng::with_seed(cases.seed);
    let mut worst = 0.0_f64;
    for number in 0..cases.count {
        let manifest = manifest(number, &mut draw)?;
        let artifact = artifact(&manifest, draw.u64(..))?;
        let (batch, length, seed) = (draw.usize(1..5), draw.usize(4..9), draw.u64(..));
        let channels = manifest.contract.channels_in;
        let apart = match manifest.contract.rank {
            2 => both::<B, 2>(&manifest, &artifact, [batch, channels], seed),
            3 => both::<B, 3>(&manifest, &artifact, [batch, length, channels], seed),
            _ => both::<B, 4>(&manifest, &artifact, [batch, channels, length, length + 1], seed),
        };
        worst = worst.max(apart?);
    }
    Ok(Checked { cases: cases.count, worst, tolerance: TOLERANCE })
}

/// Every layer once, then built-in blueprints for random slots.
fn manifest(number: usize, draw: &mut fastrand::Rng) -> Result<Manifest, Failure> {
    let by_hand = by_hand();
    if let Some((contract, layers)) = by_hand.get(number) {
        let id = BlueprintId::new(format!("layers-{number}")).map_err(refused("an id"))?;
        return Manifest::new(id, *contract, layers.clone()).map_err(refused("a manifest"));
    }
    let blueprint = Blueprint::ALL[number % Blueprint::ALL.len()];
    let rank = blueprint.ranks()[draw.usize(0..blueprint.ranks().len())];
    let channels = [4, 8, 12, 32][draw.usize(0..4)];
    let start = [Start::Identity, Start::Zero][draw.usize(0..2)];
    blueprint.for_slot(SlotContract::f32(rank, channels, channels), start).map_err(refused("a blueprint"))
}

fn by_hand() -> [(SlotContract, Vec<LayerSpec>); 3] {
    let rows = vec![
        LayerSpec::LayerNorm { channels: 6 },
        LayerSpec::Residual { layers: vec![LayerSpec::linear(6, 6), LayerSpec::Activation(Activation::Silu)] },
        LayerSpec::Scale { channels: 6 },
        LayerSpec::SqueezeExcite { channels: 6, hidden: 3 },
        LayerSpec::Identity {},
        LayerSpec::LowRank { channels_in: 6, channels_out: 4, rank: 2 },
        LayerSpec::Activation(Activation::Gelu),
    ];
    let attention = |causal| LayerSpec::Attention { channels: 8, heads: 2, causal };
    let tokens =
        vec![attention(false), attention(true), LayerSpec::Activation(Activation::Tanh), LayerSpec::linear(8, 4)];
    let convolution = LayerSpec::Conv2d {
        channels_in: 4,
        channels_out: 6,
        kernel: [3, 2],
        padding: [2, 0],
        dilation: [2, 1],
        groups: 2,
        bias: true,
    };
    let images = vec![
        convolution,
        LayerSpec::GroupNorm { channels: 6, groups: 3 },
        LayerSpec::Activation(Activation::Sigmoid),
        LayerSpec::depthwise(6, 3),
        LayerSpec::Activation(Activation::Relu),
        LayerSpec::pointwise(6, 2),
    ];
    [(SlotContract::f32(2, 6, 4), rows), (SlotContract::f32(3, 8, 4), tokens), (SlotContract::f32(4, 4, 2), images)]
}

pub(crate) fn artifact(manifest: &Manifest, seed: u64) -> Result<VerifiedArtifact, Failure> {
    let limits = ArtifactLimits::default();
    let bytes = initialise(manifest, &Initialisation { seed, zero_last: false }).map_err(refused("an artifact"))?;
    let digests = Digests::of(&bytes, &limits).map_err(refused("an artifact"))?;
    verify(&bytes, &digests, &limits).map_err(refused("an artifact"))
}

fn both<B: GraftBackend, const D: usize>(
    manifest: &Manifest,
    artifact: &VerifiedArtifact,
    shape: [usize; D],
    seed: u64,
) -> Result<f64, Failure> {
    let name = format!("{} on {shape:?}", manifest.blueprint_id);
    compare(&name, &run::<B, D>(artifact, shape, seed)?, &run::<Reference, D>(artifact, shape, seed)?, TOLERANCE)
}

fn run<B: GraftBackend, const D: usize>(
    artifact: &VerifiedArtifact,
    shape: [usize; D],
    seed: u64,
) -> Result<Numbers, Failure> {
    let mut draw = fastrand::Rng::with_seed(seed);
    let kernel = artifact.build::<B>(&Default::default());
    let input = random::<B, D>(&mut draw, shape).require_grad();
    let output = kernel.forward(input.clone()).map_err(refused("a kernel"))?;
    let weight = random::<B, D>(&mut draw, output.dims());
    let backward = (output.clone() * weight).sum().backward();
    let mut numbers = gradients(&kernel, &backward);
    numbers.push(("gradient of the input".to_owned(), input.grad(&backward).map(read).unwrap_or_default()));
    numbers.push(("output".to_owned(), read(output)));
    Ok(numbers)
}
