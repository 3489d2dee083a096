//! The blend as an operation of a backend.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;

use crate::{PlainFunction, Stash, plain::gradients};

/// The shares of host and seed in a blend. Every number is in [0, 1], and none gets a gradient.
#[derive(Clone, Debug)]
pub enum Weights<B: Backend> {
    /// `(1 - a) host + a seed`.
    Convex(f32),
    /// `host + a seed`.
    Residual(f32),
    /// `(1 - w) host + w seed`, with a tensor w of the host's rank and dtype that broadcasts to the host's shape.
    Each(FloatTensor<B>),
}

/// A backend that can blend. The default implementations use plain operations and are correct for every backend. A backend
/// overrides [`mix`](Self::mix) if it can do it in one pass, and the last three if it fuses operations; the autodiff backend
/// overrides almost all.
///
/// Host and seed must have the same shape, dtype and device; otherwise a backend may do anything, panic included.
/// [`barrier_blend`](crate::barrier_blend) and its neighbours check this before they call.
pub trait BlendBackend: Backend {
    /// The blend. With autodiff, host and seed get the gradients of the formula.
    ///
    /// At [`Convex(0)`](Weights::Convex) and [`Residual(0)`](Weights::Residual) the value is the host itself, and at `Convex(1)`
    /// the seed itself, bit for bit, even if the other one holds NaN.
    fn mix(host: FloatTensor<Self>, seed: FloatTensor<Self>, weights: Weights<Self>) -> FloatTensor<Self> {
        plain_mix::<Self>(host, seed, weights)
    }

    /// The value of [`mix`](Self::mix). With autodiff, only the seed gets a gradient: the host is not a parent in the graph of this
    /// operation. If an override gets this wrong, a live seed moves its host.
    fn mix_behind_barrier(
        host: FloatTensor<Self>,
        seed: FloatTensor<Self>,
        weights: Weights<Self>,
    ) -> FloatTensor<Self> {
        Self::mix(host, seed, weights)
    }

    /// The host's own tensor. With autodiff, behind a node with one parent: see [`tap`](crate::tap). An override that makes the
    /// graph depend on whether there is a stash lets a live seed move its host.
    fn tap(host: FloatTensor<Self>, _stash: Option<Stash<Self>>) -> FloatTensor<Self> {
        host
    }

    /// A scalar of shape `[1]` whose backward pass gives `seed` this gradient: see [`pull_back`](crate::pull_back).
    fn pull_back(seed: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_sum(Self::float_mul(seed, gradient))
    }

    /// Whether a call returns before its result is there: the device works through a queue. Then the time of a call is not that of the
    /// operation, unless the device is waited for.
    #[must_use]
    fn is_queued() -> bool {
        false
    }

    /// Whether this backend fuses operations into kernels that it compiles when they are first run.
    #[must_use]
    fn is_fused() -> bool {
        false
    }

    /// Runs the function on the same device without fusion: every operation by itself. With autodiff, input and parameters get the
    /// gradients of the function, which are computed without fusion, too. On a backend that does not fuse, this is the function
    /// itself.
    fn run_plain<F: PlainFunction>(
        function: &F,
        input: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        function.run::<Self>(input, parameters)
    }

    /// The gradients of input and parameters, given that of the result: a forward and a backward pass of
    /// [`run_plain`](Self::run_plain).
    fn plain_gradients<F: PlainFunction>(
        function: &F,
        arguments: [FloatTensor<Self>; 2],
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        gradients::<Self, F>(function, arguments, gradient)
    }
}

/// What grafts need of a backend: autodiff, and the blend with and without it.
pub trait GraftBackend: AutodiffBackend<InnerBackend: BlendBackend> + BlendBackend {}

impl<B> GraftBackend for B where B: AutodiffBackend<InnerBackend: BlendBackend> + BlendBackend {}

/// The blend in plain operations.
pub(crate) fn plain_mix<B: Backend>(host: FloatTensor<B>, seed: FloatTensor<B>, weights: Weights<B>) -> FloatTensor<B> {
    match weights {
        Weights::Convex(0.0) | Weights::Residual(0.0) => host,
        Weights::Convex(1.0) => seed,
        Weights::Convex(alpha) => {
            B::float_add(B::float_mul_scalar(host, (1.0 - alpha).into()), B::float_mul_scalar(seed, alpha.into()))
        }
        Weights::Residual(alpha) => B::float_add(host, B::float_mul_scalar(seed, alpha.into())),
        Weights::Each(weight) => {
            let rest = complement::<B>(weight.clone());
            B::float_add(B::float_mul(host, rest), B::float_mul(seed, weight))
        }
    }
}

/// `1 - w`.
pub(crate) fn complement<B: Backend>(weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add_scalar(B::float_neg(weight), 1.0_f32.into())
}
