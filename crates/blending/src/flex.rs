//! One pass on the CPU.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use crate::backend::plain_mix;
use crate::{BlendBackend, Weights};

/// The number of elements that are computed together: enough to pay for the division of the weight, few enough to stay in
/// registers and L1.
const BLOCK: usize = 64;
/// From this many elements on, several threads are faster than one. Measured on 2 cores under other load: 2^18 elements take one
/// thread 45 us and two threads 69 us; 2^20 elements take 246 us and 226 us.
const PARALLEL_FROM: usize = 1 << 19;
/// The minimum work of a thread, in blocks: 64 KiB of each tensor.
const BLOCKS_PER_TASK: usize = 256;

impl BlendBackend for Flex {
    fn mix(host: FlexTensor, seed: FlexTensor, weights: Weights<Self>) -> FlexTensor {
        let floats = host.dtype() == DType::F32 && seed.dtype() == DType::F32;
        match weights {
            Weights::Convex(alpha) if floats && alpha > 0.0 && alpha < 1.0 => {
                let rest = 1.0 - alpha;
                one_pass(host, seed, move |_, host, seed, out| {
                    zip(host, seed, out, |host, seed| host * rest + seed * alpha);
                })
            }
            Weights::Residual(alpha) if floats && alpha > 0.0 => one_pass(host, seed, move |_, host, seed, out| {
                zip(host, seed, out, |host, seed| host + seed * alpha);
            }),
            Weights::Each(weight) => match run_length(weight.layout().shape(), host.layout().shape()) {
                Some(inner) if floats && weight.dtype() == DType::F32 => {
                    let weight = contiguous(weight);
                    let values = elements(&weight);
                    one_pass(host, seed, move |offset, host, seed, out| {
                        weighted(values, inner, offset, host, seed, out);
                    })
                }
                _ => plain_mix::<Self>(host, seed, Weights::Each(weight)),
            },
            Weights::Convex(_) | Weights::Residual(_) => plain_mix::<Self>(host, seed, weights),
        }
    }
}

/// The number of consecutive elements that share one weight; `None` if the weight varies along several axes.
fn run_length(weight: &[usize], full: &[usize]) -> Option<usize> {
    if weight.len() != full.len() {
        return None;
    }
    let mut varying = (0..weight.len()).filter(|axis| weight[*axis] != 1);
    match (varying.next(), varying.next()) {
        (None, _) => Some(full.iter().product()),
        (Some(axis), None) if weight[axis] == full[axis] => Some(full[axis + 1..].iter().product()),
        _ => None,
    }
}

/// Fills the part of the output that starts at `offset`, from the same part of host and seed. `values` repeat along the output, each
/// for `inner` elements.
#[inline]
fn weighted(values: &[f32], inner: usize, offset: usize, host: &[f32], seed: &[f32], out: &mut [f32]) {
    let mut start = 0;
    while start < out.len() {
        let turn = offset + start;
        let run = if inner == 1 {
            let first = turn % values.len();
            let run = (values.len() - first).min(out.len() - start);
            let here = start..start + run;
            let parts = out[here.clone()].iter_mut().zip(&host[here.clone()]).zip(&seed[here]);
            for (((out, host), seed), weight) in parts.zip(&values[first..]) {
                *out = host * (1.0 - weight) + seed * weight;
            }
            run
        } else {
            let weight = values[turn / inner % values.len()];
            let rest = 1.0 - weight;
            let run = (inner - turn % inner).min(out.len() - start);
            let here = start..start + run;
            zip(&host[here.clone()], &seed[here.clone()], &mut out[here], |host, seed| host * rest + seed * weight);
            run
        };
        start += run;
    }
}

#[inline(always)]
fn zip(host: &[f32], seed: &[f32], out: &mut [f32], blend: impl Fn(f32, f32) -> f32) {
    for ((out, host), seed) in out.iter_mut().zip(host).zip(seed) {
        *out = blend(*host, *seed);
    }
}

/// Fills a fresh tensor block by block: `fill(offset, host, seed, out)`.
fn one_pass(host: FlexTensor, seed: FlexTensor, fill: impl Fn(usize, &[f32], &[f32], &mut [f32]) + Sync) -> FlexTensor {
    let (host, seed) = (contiguous(host), contiguous(seed));
    let ((host_blocks, host_rest), (seed_blocks, seed_rest)) =
        (elements(&host).as_chunks::<BLOCK>(), elements(&seed).as_chunks::<BLOCK>());
    let block = |index: usize, host: &[f32; BLOCK], seed: &[f32; BLOCK]| {
        let mut out = [0.0; BLOCK];
        fill(index * BLOCK, host, seed, &mut out);
        out
    };
    // Collecting whole blocks writes fresh memory once; filling a zeroed vector would write it twice. One block more leaves room
    // for the rest.
    let mut blocks = Vec::with_capacity(host_blocks.len() + 1);
    if host_blocks.len() * BLOCK < PARALLEL_FROM {
        let pairs = host_blocks.iter().zip(seed_blocks).enumerate();
        blocks.extend(pairs.map(|(index, (host, seed))| block(index, host, seed)));
    } else {
        let pairs = host_blocks.par_iter().zip(seed_blocks).with_min_len(BLOCKS_PER_TASK).enumerate();
        pairs.map(|(index, (host, seed))| block(index, host, seed)).collect_into_vec(&mut blocks);
    }
    let mut values = blocks.into_flattened();
    let mut rest = [0.0; BLOCK];
    let rest = &mut rest[..host_rest.len()];
    fill(values.len(), host_rest, seed_rest, rest);
    values.extend_from_slice(rest);
    FlexTensor::from_data(TensorData::new(values, host.layout().shape().clone()))
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a contiguous `f32` tensor.
fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or_default()
}
