//! What gradients amount to. Each reads from the device once, and counts a parameter once that is in several places of its module.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{FloatDType, Tensor, backend::AutodiffBackend},
};

/// The sum of the squares of all of the module's gradients, of shape `[1]` in `f32`, still on its device; `None` if there are none. For a
/// caller that reads other numbers too, and reads once.
#[must_use]
pub fn gradient_squares<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &GradientsParams,
) -> Option<Tensor<B::InnerBackend, 1>> {
    struct Squares<'a, B: AutodiffBackend> {
        gradients: &'a GradientsParams,
        counted: BTreeSet<ParamId>,
        sum: Option<Tensor<B::InnerBackend, 1>>,
    }
    impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if !self.counted.insert(param.id) {
                return;
            }
            let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) else { return };
            let squares = gradient.cast(FloatDType::F32).square().sum();
            self.sum = Some(match self.sum.take() {
                None => squares,
                Some(others) => others + squares,
            });
        }
    }
    let mut squares = Squares::<B> { gradients, counted: BTreeSet::new(), sum: None };
    module.visit(&mut squares);
    squares.sum
}

/// The L2 norm over all of the module's gradients; 0 if there are none.
#[must_use]
pub fn gradient_norm<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M, gradients: &GradientsParams) -> f32 {
    let mut sums = Sums::<B>::new(gradients, gradients, None);
    module.visit(&mut sums);
    sums.read().map_or(0.0, |[squares, ..]| squares.sqrt())
}

/// How two sets of gradients lie to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// Their dot product.
    pub dot_product: f32,
    /// Their cosine similarity, in -1 to 1.
    pub cosine: f32,
}

/// How two sets of gradients of the module lie to each other over these parameters; `None` if no parameter has both, or one of them is
/// zero.
#[must_use]
pub fn overlap<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    a: &GradientsParams,
    b: &GradientsParams,
    over: &BTreeSet<ParamId>,
) -> Option<Overlap> {
    let mut sums = Sums::<B>::new(a, b, Some(over));
    module.visit(&mut sums);
    let [products, a, b] = sums.read()?;
    let norms = a.sqrt() * b.sqrt();
    (norms > 0.0).then(|| Overlap { dot_product: products, cosine: (products / norms).clamp(-1.0, 1.0) })
}

/// The sums of the products of two sets of gradients, and of the squares of each.
struct Sums<'a, B: AutodiffBackend> {
    a: &'a GradientsParams,
    b: &'a GradientsParams,
    over: Option<&'a BTreeSet<ParamId>>,
    counted: BTreeSet<ParamId>,
    sums: Option<Tensor<B::InnerBackend, 1>>,
}

impl<'a, B: AutodiffBackend> Sums<'a, B> {
    fn new(a: &'a GradientsParams, b: &'a GradientsParams, over: Option<&'a BTreeSet<ParamId>>) -> Self {
        Self { a, b, over, counted: BTreeSet::new(), sums: None }
    }

    /// The only read from the device: products, squares of a, squares of b.
    fn read(self) -> Option<[f32; 3]> {
        let sums: Vec<f32> = self.sums?.into_data().iter::<f32>().collect();
        sums.try_into().ok()
    }
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Sums<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.over.is_some_and(|over| !over.contains(&param.id)) || !self.counted.insert(param.id) {
            return;
        }
        let a = self.a.get::<B::InnerBackend, D>(param.id);
        let b = self.b.get::<B::InnerBackend, D>(param.id);
        let (Some(a), Some(b)) = (a, b) else { return };
        // An id that two modules share does not make their parameters alike.
        if a.dims() != b.dims() {
            return;
        }
        // In 16 bits, sums of squares would overflow.
        let (a, b) = (a.cast(FloatDType::F32), b.cast(FloatDType::F32));
        let products = (a.clone() * b.clone()).sum();
        let sums = Tensor::cat(vec![products, a.square().sum(), b.square().sum()], 0);
        self.sums = Some(match self.sums.take() {
            None => sums,
            Some(others) => others + sums,
        });
    }
}
