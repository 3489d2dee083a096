//! The gradients of the blend.

use std::marker::PhantomData;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Shape, TensorMetadata};

use crate::backend::complement;
use crate::tap::Cell;
use crate::{BlendBackend, PlainFunction, Stash, Weights};

impl<B: BlendBackend, C: CheckpointStrategy> BlendBackend for Autodiff<B, C> {
    fn mix(host: FloatTensor<Self>, seed: FloatTensor<Self>, weights: Weights<Self>) -> FloatTensor<Self> {
        let weights = without_graph(weights);
        match Mix.prepare::<C>([host.node, seed.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(weights.clone(), B::mix(host.primitive, seed.primitive, weights)),
            OpsKind::UnTracked(prep) => prep.finish(B::mix(host.primitive, seed.primitive, weights)),
        }
    }

    fn mix_behind_barrier(
        host: FloatTensor<Self>,
        seed: FloatTensor<Self>,
        weights: Weights<Self>,
    ) -> FloatTensor<Self> {
        let weights = without_graph(weights);
        let mix = |weights| B::mix_behind_barrier(host.primitive, seed.primitive, weights);
        match MixBehindBarrier.prepare::<C>([seed.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(weights.clone(), mix(weights)),
            OpsKind::UnTracked(prep) => prep.finish(mix(weights)),
        }
    }

    fn tap(host: FloatTensor<Self>, stash: Option<Stash<Self>>) -> FloatTensor<Self> {
        let cell = stash.map(Stash::into_cell);
        if host.is_tracked() {
            match Tap.prepare::<C>([host.node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(cell, host.primitive),
                OpsKind::UnTracked(prep) => prep.finish(host.primitive),
            }
        } else {
            let leaf = Self::from_inner(host.primitive.clone()).require_grad();
            // The untracked tensor is no parent, but it gives the node the depth that it would have behind a tracked one.
            match Tap.prepare::<C>([leaf.node, host.node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(cell, host.primitive),
                OpsKind::UnTracked(prep) => prep.finish(host.primitive),
            }
        }
    }

    fn pull_back(seed: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let (device, dtype) = (B::float_device(&seed.primitive), seed.primitive.dtype());
        let number = B::float_zeros(Shape::new([1]), &device, dtype.into());
        match PullBack.prepare::<C>([seed.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(gradient.primitive, number),
            OpsKind::UnTracked(prep) => prep.finish(number),
        }
    }

    fn is_queued() -> bool {
        B::is_queued()
    }

    fn is_fused() -> bool {
        B::is_fused()
    }

    fn run_plain<F: PlainFunction>(
        function: &F,
        input: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if !B::is_fused() {
            return function.run::<Self>(input, parameters);
        }
        let arguments = [input.primitive, parameters.primitive];
        let run = |[input, parameters]: [FloatTensor<B>; 2]| B::run_plain(function, input, parameters);
        match RunPlain::<F>(PhantomData).prepare::<C>([input.node, parameters.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((function.clone(), arguments.clone()), run(arguments)),
            OpsKind::UnTracked(prep) => prep.finish(run(arguments)),
        }
    }
}

fn without_graph<B: Backend, C: CheckpointStrategy>(weights: Weights<Autodiff<B, C>>) -> Weights<B> {
    match weights {
        Weights::Convex(alpha) => Weights::Convex(alpha),
        Weights::Residual(alpha) => Weights::Residual(alpha),
        Weights::Each(weight) => Weights::Each(weight.primitive),
    }
}

#[derive(Debug)]
struct MixBehindBarrier;

impl<B: Backend> Backward<B, 1> for MixBehindBarrier {
    type State = Weights<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [seed] = ops.parents;
        if let Some(seed) = seed {
            grads.register::<B>(seed.id, seed_grad::<B>(grad, ops.state));
        }
    }
}

#[derive(Debug)]
struct Mix;

impl<B: Backend> Backward<B, 2> for Mix {
    type State = Weights<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [host, seed] = ops.parents;
        if let Some(host) = host {
            grads.register::<B>(host.id, host_grad::<B>(grad.clone(), ops.state.clone()));
        }
        if let Some(seed) = seed {
            grads.register::<B>(seed.id, seed_grad::<B>(grad, ops.state));
        }
    }
}

/// Passes the gradient on, and leaves a copy in its state.
#[derive(Debug)]
struct Tap;

impl<B: Backend, const N: usize> Backward<B, N> for Tap {
    type State = Option<Cell<Autodiff<B>>>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        if let Some(cell) = ops.state {
            // A graph is run backward once, so the cell is empty.
            let _ = cell.set(Autodiff::<B>::from_inner(grad.clone()));
        }
        if let Some(parent) = ops.parents.into_iter().flatten().next() {
            grads.register::<B>(parent.id, grad);
        }
    }
}

/// Gives its parent the gradient in its state.
#[derive(Debug)]
struct PullBack;

impl<B: Backend> Backward<B, 1> for PullBack {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        drop(grads.consume::<B>(&ops.node));
        let [seed] = ops.parents;
        if let Some(seed) = seed {
            grads.register::<B>(seed.id, ops.state);
        }
    }
}

/// Runs the function once more, with a graph behind the backend that fuses.
#[derive(Debug)]
struct RunPlain<F>(PhantomData<F>);

impl<B: BlendBackend, F: PlainFunction> Backward<B, 2> for RunPlain<F> {
    type State = (F, [FloatTensor<B>; 2]);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (function, arguments) = ops.state;
        let gradients = B::plain_gradients(&function, arguments, grad);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

fn host_grad<B: Backend>(grad: FloatTensor<B>, weights: Weights<B>) -> FloatTensor<B> {
    match weights {
        Weights::Convex(alpha) => scaled::<B>(grad, 1.0 - alpha),
        Weights::Residual(_) => grad,
        Weights::Each(weight) => B::float_mul(grad, complement::<B>(weight)),
    }
}

fn seed_grad<B: Backend>(grad: FloatTensor<B>, weights: Weights<B>) -> FloatTensor<B> {
    match weights {
        Weights::Convex(alpha) | Weights::Residual(alpha) => scaled::<B>(grad, alpha),
        Weights::Each(weight) => B::float_mul(grad, weight),
    }
}

fn scaled<B: Backend>(grad: FloatTensor<B>, factor: f32) -> FloatTensor<B> {
    if factor == 1.0 { grad } else { B::float_mul_scalar(grad, factor.into()) }
}
