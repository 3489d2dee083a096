//! One pass on the CPU, into the memory of an argument if nobody else holds it.

mod real;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType};
use half::{bf16, f16};
use rayon::prelude::*;
use real::Real;

use crate::backend::plain_mix;
use crate::{BlendBackend, Weights};

/// The number of elements that are computed together: enough to pay for finding their weights, few enough to stay in L1.
const BLOCK: usize = 512;
/// From this many elements on, several threads are faster than one. Measured on 2 cores under other load: 2^18 elements take one
/// thread 45 us and two threads 69 us; 2^20 elements take 246 us and 226 us.
const PARALLEL_FROM: usize = 1 << 19;
/// The minimum work of a thread, in blocks: 64 KiB of each tensor of f32.
const BLOCKS_PER_TASK: usize = 32;

impl BlendBackend for Flex {
    /// The arithmetic is in f32, and the result is rounded once, for 16-bit floats too.
    fn mix(host: FlexTensor, seed: FlexTensor, weights: Weights<Self>) -> FlexTensor {
        match (host.dtype(), seed.dtype()) {
            (DType::F32, DType::F32) => mix::<f32>(host, seed, weights),
            (DType::F16, DType::F16) => mix::<f16>(host, seed, weights),
            (DType::BF16, DType::BF16) => mix::<bf16>(host, seed, weights),
            _ => plain_mix::<Self>(host, seed, weights),
        }
    }
}

fn mix<T: Real>(host: FlexTensor, seed: FlexTensor, weights: Weights<Flex>) -> FlexTensor {
    match weights {
        Weights::Convex(alpha) if alpha > 0.0 && alpha < 1.0 => {
            let (rest, [host, seed]) = (1.0 - alpha, alike([host, seed]));
            one_pass::<T>(host, seed, move |_, host, seed, out| {
                zip(host, seed, out, |host, seed| host * rest + seed * alpha);
            })
        }
        Weights::Residual(alpha) if alpha > 0.0 => {
            let [host, seed] = alike([host, seed]);
            one_pass::<T>(host, seed, move |_, host, seed, out| {
                zip(host, seed, out, |host, seed| host + seed * alpha);
            })
        }
        Weights::Each(weight) => match run_length(weight.layout().shape(), host.layout().shape()) {
            Some(inner) if weight.dtype() == host.dtype() => {
                let weight = contiguous(weight);
                let values = T::widened(elements(&weight));
                one_pass::<T>(contiguous(host), contiguous(seed), |offset, host, seed, out| {
                    weighted(&values, inner, offset, host, seed, out);
                })
            }
            _ => plain_mix::<Flex>(host, seed, Weights::Each(weight)),
        },
        Weights::Convex(_) | Weights::Residual(_) => plain_mix::<Flex>(host, seed, weights),
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
    if out.is_empty() {
        // An empty axis may be what `inner` counts.
        return;
    }
    // A division takes as long as the blend of some dozen elements, so there are two for a block and none for a run.
    let (mut which, mut done) = (offset / inner % values.len(), offset % inner);
    let mut start = 0;
    while start < out.len() {
        let run = if inner == 1 {
            let run = (values.len() - which).min(out.len() - start);
            let here = start..start + run;
            let parts = out[here.clone()].iter_mut().zip(&host[here.clone()]).zip(&seed[here]);
            for (((out, host), seed), weight) in parts.zip(&values[which..]) {
                *out = host * (1.0 - weight) + seed * weight;
            }
            which = 0;
            run
        } else {
            let weight = values[which];
            let rest = 1.0 - weight;
            let run = (inner - done).min(out.len() - start);
            let here = start..start + run;
            zip(&host[here.clone()], &seed[here.clone()], &mut out[here], |host, seed| host * rest + seed * weight);
            done = 0;
            which = if which + 1 == values.len() { 0 } else { which + 1 };
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

/// Blends block by block: `fill(offset, host, seed, out)`. Both tensors are dense, with the same strides.
///
/// Fresh memory costs more than the arithmetic: the system clears each page when it is first touched.
fn one_pass<T: Real>(
    mut host: FlexTensor,
    mut seed: FlexTensor,
    fill: impl Fn(usize, &[f32], &[f32], &mut [f32]) + Sync,
) -> FlexTensor {
    if overwrite::<T>(&mut seed, elements(&host), |offset, seed, host, out| fill(offset, host, seed, out)) {
        seed
    } else if overwrite::<T>(&mut host, elements(&seed), &fill) {
        host
    } else {
        fresh::<T>(&host, &seed, fill)
    }
}

/// Puts the blend in place of `own`, if nobody else holds it: `fill(offset, own, other, out)`.
fn overwrite<T: Real>(
    own: &mut FlexTensor,
    other: &[T],
    fill: impl Fn(usize, &[f32], &[f32], &mut [f32]) + Sync,
) -> bool {
    let start = own.layout().start_offset();
    let Some(own) = own.try_storage_mut::<T>() else { return false };
    let own = &mut own[start..start + other.len()];
    let task = |first: usize, own: &mut [T], other: &[T]| {
        for (index, (own, other)) in own.chunks_mut(BLOCK).zip(other.chunks(BLOCK)).enumerate() {
            let mut before = [T::default(); BLOCK];
            let before = &mut before[..own.len()];
            before.copy_from_slice(own);
            T::blend(before, other, own, |before, other, out| fill(first + index * BLOCK, before, other, out));
        }
    };
    if own.len() < PARALLEL_FROM {
        task(0, own, other);
    } else {
        const TASK: usize = BLOCK * BLOCKS_PER_TASK;
        let tasks = own.par_chunks_mut(TASK).zip(other.par_chunks(TASK)).enumerate();
        tasks.for_each(|(index, (own, other))| task(index * TASK, own, other));
    }
    true
}

/// Puts the blend into memory of its own.
fn fresh<T: Real>(
    host: &FlexTensor,
    seed: &FlexTensor,
    fill: impl Fn(usize, &[f32], &[f32], &mut [f32]) + Sync,
) -> FlexTensor {
    let ((host_blocks, host_rest), (seed_blocks, seed_rest)) =
        (elements::<T>(host).as_chunks::<BLOCK>(), elements::<T>(seed).as_chunks::<BLOCK>());
    let block = |index: usize, host: &[T; BLOCK], seed: &[T; BLOCK]| {
        let mut out = [T::default(); BLOCK];
        T::blend(host, seed, &mut out, |host, seed, out| fill(index * BLOCK, host, seed, out));
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
    let mut rest = [T::default(); BLOCK];
    let rest = &mut rest[..host_rest.len()];
    T::blend(host_rest, seed_rest, rest, |host, seed, out| fill(values.len(), host, seed, out));
    values.extend_from_slice(rest);
    let layout = Layout::new(host.layout().shape().clone(), host.layout().strides().to_vec(), 0);
    FlexTensor::new(Bytes::from_elems(values), layout, host.dtype())
}

/// Two tensors whose elements lie in the same order without gaps: as they are, if they do, otherwise copies.
fn alike([host, seed]: [FlexTensor; 2]) -> [FlexTensor; 2] {
    if host.layout().strides() == seed.layout().strides() && is_dense(host.layout()) {
        [host, seed]
    } else {
        [contiguous(host), contiguous(seed)]
    }
}

/// Whether the elements lie one after the other, in whatever order of axes.
fn is_dense(layout: &Layout) -> bool {
    let mut axes: Vec<_> = layout.strides().iter().zip(layout.shape().iter()).filter(|(_, size)| **size != 1).collect();
    axes.sort_unstable();
    let run = axes.into_iter().try_fold(1, |run, (&stride, &size)| (stride == run).then_some(run * size as isize));
    run.is_some()
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a dense tensor, in the order in which they lie.
fn elements<T: Real>(tensor: &FlexTensor) -> &[T] {
    let layout = tensor.layout();
    &tensor.storage::<T>()[layout.start_offset()..layout.start_offset() + layout.num_elements()]
}
