//! The element types that are blended in one pass.

use burn::tensor::Element;
use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::BLOCK;

/// An element whose arithmetic is in f32.
pub(super) trait Real: Element + Pod + Default + Send + Sync {
    /// All of them in f32.
    fn widened(values: &[Self]) -> Vec<f32>;

    /// Computes a block, of at most [`BLOCK`] elements: `fill(left, right, out)`.
    fn blend(left: &[Self], right: &[Self], out: &mut [Self], fill: impl FnOnce(&[f32], &[f32], &mut [f32]));
}

impl Real for f32 {
    fn widened(values: &[Self]) -> Vec<f32> {
        values.to_vec()
    }

    #[inline(always)]
    fn blend(left: &[Self], right: &[Self], out: &mut [Self], fill: impl FnOnce(&[f32], &[f32], &mut [f32])) {
        fill(left, right, out);
    }
}

impl Real for f16 {
    fn widened(values: &[Self]) -> Vec<f32> {
        values.to_f32_vec()
    }

    #[inline(always)]
    fn blend(left: &[Self], right: &[Self], out: &mut [Self], fill: impl FnOnce(&[f32], &[f32], &mut [f32])) {
        in_f32(left, right, out, fill);
    }
}

impl Real for bf16 {
    fn widened(values: &[Self]) -> Vec<f32> {
        values.to_f32_vec()
    }

    #[inline(always)]
    fn blend(left: &[Self], right: &[Self], out: &mut [Self], fill: impl FnOnce(&[f32], &[f32], &mut [f32])) {
        in_f32(left, right, out, fill);
    }
}

#[inline(always)]
fn in_f32<T>(left: &[T], right: &[T], out: &mut [T], fill: impl FnOnce(&[f32], &[f32], &mut [f32]))
where
    [T]: HalfFloatSliceExt,
{
    let mut rooms = [[0.0; BLOCK]; 3];
    let [wide_left, wide_right, wide_out] = rooms.each_mut().map(|room| &mut room[..out.len()]);
    left.convert_to_f32_slice(wide_left);
    right.convert_to_f32_slice(wide_right);
    fill(wide_left, wide_right, wide_out);
    out.convert_from_f32_slice(wide_out);
}
