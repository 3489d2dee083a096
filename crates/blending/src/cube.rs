//! On a GPU the plain expression is enough: fusion turns it into one kernel.

use burn_cubecl::element::BoolElement;
use burn_cubecl::{CubeBackend, CubeRuntime, FloatElement, IntElement};
use burn_fusion::{Fusion, FusionBackend};

use crate::BlendBackend;

impl<B: FusionBackend> BlendBackend for Fusion<B> {}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, T: BoolElement> BlendBackend for CubeBackend<R, F, I, T> where
    CubeBackend<R, F, I, T>: burn::tensor::backend::Backend
{
}
