//! One pass on the CPU, into the memory of an argument if nobody else holds it.

mod plan;
mod real;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType};
use half::{bf16, f16};
use plan::{Blend, Own, Plan};
use rayon::prelude::*;
use real::Real;

use crate::backend::plain_mix;
use crate::{BlendBackend, Weights};

/// The number of elements that are copied and then computed together: few enough to stay in L1.
const BLOCK: usize = 512;
/// From this many elements on, several threads are faster than one. Measured on 2 cores: one thread blends 2^20 elements in 157 us, where two take
/// 280 us; from 2^24 on, two are faster, because they share the first touch of fresh memory.
const PARALLEL_FROM: usize = 1 << 23;
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
    let convex = |host: f32, seed: f32, weight: f32| host * (1.0 - weight) + seed * weight;
    match weights {
        Weights::Convex(alpha) if alpha > 0.0 && alpha < 1.0 => {
            one_pass::<T>(alike([host, seed]), &Plan::same(alpha, convex))
        }
        Weights::Residual(alpha) if alpha > 0.0 => {
            one_pass::<T>(alike([host, seed]), &Plan::same(alpha, |host, seed, weight| host + seed * weight))
        }
        Weights::Each(weight) => match run_length(weight.layout().shape(), host.layout().shape()) {
            Some(inner) if weight.dtype() == host.dtype() => {
                let weights = T::in_f32(elements(&contiguous(weight)));
                one_pass::<T>([contiguous(host), contiguous(seed)], &Plan::new(weights, inner, convex))
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

/// Blends two tensors that are dense, with the same strides.
///
/// Fresh memory costs more than the arithmetic: the system clears each page when it is first touched.
fn one_pass<T: Real>([mut host, mut seed]: [FlexTensor; 2], plan: &Plan<impl Blend>) -> FlexTensor {
    if overwrite::<T>(&mut seed, elements(&host), plan, Own::Seed) {
        seed
    } else if overwrite::<T>(&mut host, elements(&seed), plan, Own::Host) {
        host
    } else {
        fresh::<T>(&host, &seed, plan)
    }
}

/// Puts the blend in place of `own`, if nobody else holds it.
fn overwrite<T: Real>(own: &mut FlexTensor, other: &[T], plan: &Plan<impl Blend>, whose: Own) -> bool {
    let start = own.layout().start_offset();
    let Some(own) = own.try_storage_mut::<T>() else { return false };
    let own = &mut own[start..start + other.len()];
    if own.len() < PARALLEL_FROM {
        T::overwrite(plan, whose, 0, own, other);
    } else {
        const TASK: usize = BLOCK * BLOCKS_PER_TASK;
        let tasks = own.par_chunks_mut(TASK).zip(other.par_chunks(TASK)).enumerate();
        tasks.for_each(|(index, (own, other))| T::overwrite(plan, whose, index * TASK, own, other));
    }
    true
}

/// Puts the blend into memory of its own, which is written once: a vector of zeros would be written twice.
fn fresh<T: Real>(host: &FlexTensor, seed: &FlexTensor, plan: &Plan<impl Blend>) -> FlexTensor {
    let layout = Layout::new(host.layout().shape().clone(), host.layout().strides().to_vec(), 0);
    let dtype = host.dtype();
    let (host, seed) = (elements::<T>(host), elements::<T>(seed));
    let mut values = Vec::new();
    if host.len() < PARALLEL_FROM {
        values.reserve_exact(host.len());
        T::append(plan, 0, host, seed, &mut values);
    } else {
        let ((hosts, host_rest), (seeds, seed_rest)) = (host.as_chunks::<BLOCK>(), seed.as_chunks::<BLOCK>());
        // One block more leaves room for the rest.
        let mut blocks = Vec::with_capacity(hosts.len() + 1);
        let pairs = hosts.par_iter().zip(seeds).with_min_len(BLOCKS_PER_TASK).enumerate();
        let blended = pairs.map(|(index, (host, seed))| {
            let mut block = *host;
            T::overwrite(plan, Own::Host, index * BLOCK, &mut block, seed);
            block
        });
        blended.collect_into_vec(&mut blocks);
        values = blocks.into_flattened();
        T::append(plan, values.len(), host_rest, seed_rest, &mut values);
    }
    FlexTensor::new(Bytes::from_elems(values), layout, dtype)
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
