//! The element types that are blended in one pass.

use burn::tensor::Element;
use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::BLOCK;
use super::plan::{Blend, Own, Plan};

/// An element whose arithmetic is in f32.
pub(super) trait Real: Element + Pod + Send + Sync {
    fn in_f32(values: &[Self]) -> Vec<f32>;

    /// As [`Plan::append`].
    fn append(plan: &Plan<impl Blend>, offset: usize, host: &[Self], seed: &[Self], out: &mut Vec<Self>);

    /// As [`Plan::overwrite`].
    fn overwrite(plan: &Plan<impl Blend>, whose: Own, offset: usize, own: &mut [Self], other: &[Self]);
}

impl Real for f32 {
    fn in_f32(values: &[Self]) -> Vec<f32> {
        values.to_vec()
    }

    fn append(plan: &Plan<impl Blend>, offset: usize, host: &[Self], seed: &[Self], out: &mut Vec<Self>) {
        plan.append(offset, host, seed, out);
    }

    fn overwrite(plan: &Plan<impl Blend>, whose: Own, offset: usize, own: &mut [Self], other: &[Self]) {
        plan.overwrite(whose, offset, own, other);
    }
}

macro_rules! impl_real_for_half {
    ($half:ty) => {
        impl Real for $half {
            fn in_f32(values: &[Self]) -> Vec<f32> {
                values.to_f32_vec()
            }

            fn append(plan: &Plan<impl Blend>, offset: usize, host: &[Self], seed: &[Self], out: &mut Vec<Self>) {
                append(plan, offset, host, seed, out);
            }

            fn overwrite(plan: &Plan<impl Blend>, whose: Own, offset: usize, own: &mut [Self], other: &[Self]) {
                overwrite(plan, whose, offset, own, other);
            }
        }
    };
}

impl_real_for_half!(f16);
impl_real_for_half!(bf16);

/// Block by block, each copied and then changed while it is in L1.
fn append<T: Copy>(plan: &Plan<impl Blend>, offset: usize, host: &[T], seed: &[T], out: &mut Vec<T>)
where
    [T]: HalfFloatSliceExt,
{
    for (index, (host, seed)) in host.chunks(BLOCK).zip(seed.chunks(BLOCK)).enumerate() {
        let start = out.len();
        out.extend_from_slice(host);
        overwrite(plan, Own::Host, offset + index * BLOCK, &mut out[start..], seed);
    }
}

fn overwrite<T>(plan: &Plan<impl Blend>, whose: Own, offset: usize, own: &mut [T], other: &[T])
where
    [T]: HalfFloatSliceExt,
{
    let mut rooms = [[0.0; BLOCK]; 2];
    for (index, (own, other)) in own.chunks_mut(BLOCK).zip(other.chunks(BLOCK)).enumerate() {
        let [wide_own, wide_other] = rooms.each_mut().map(|room| &mut room[..own.len()]);
        own.convert_to_f32_slice(wide_own);
        other.convert_to_f32_slice(wide_other);
        plan.overwrite(whose, offset + index * BLOCK, wide_own, wide_other);
        own.convert_from_f32_slice(wide_own);
    }
}
