//! Running statistics for another network than the one that they were collected in.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::{AutodiffModule, ParamId},
    tensor::{
        DType, Shape, Tensor, TensorMetadata, TensorPrimitive,
        backend::{AutodiffBackend, Backend},
        ops::FloatTensor,
    },
};
use kasmina_blending::GraftBackend;

use crate::{Grafts, PassKind, Statistics, frozen_twin, independent_copy, statistics::write};

/// A copy of the host whose running statistics are estimated anew, with these grafts, over a few batches. It is meant for the view
/// that `grafts` builds, in inference.
///
/// A host collects its running statistics in its own pass, without live seeds. A seed that changes the activations before a batch
/// normalisation makes them wrong for the live view, and a fossil for the host itself. Training mode does not read them, so it
/// does not show this.
///
/// `grafts` gives the grafts of one pass, such as [`Cast::measured`](crate::Cast::measured) without overrides; each item of
/// `forwards` runs the host it is given on one batch. The first is run twice. They run in training mode on a frozen twin, so the
/// host does not change; they may draw random numbers from the backend.
///
/// An estimate is the average over the batches that an exponential moving average gives that starts with the first of them; later
/// batches weigh as much as the layer's momentum makes them. A state that no pass moves keeps its value, and so does one that is not
/// an exponential moving average. Without a batch, all do. Each state is read from the device once.
pub fn refit_statistics<B, H, R, F>(
    host: &H,
    grafts: impl Fn() -> Grafts<B>,
    forwards: impl IntoIterator<Item = F>,
) -> H
where
    B: GraftBackend,
    H: AutodiffModule<B>,
    F: Fn(&H, &mut Grafts<B>) -> R,
{
    let (copy, twin) = (independent_copy(host), frozen_twin(host));
    let mut forwards = forwards.into_iter();
    let Some(first) = forwards.next() else { return copy };
    let states = states(&twin);
    let run = |forward: &F| {
        forward(&twin, &mut grafts().with_kind(PassKind::Refit));
    };
    let start = |number: fn(DType) -> f32| {
        write::<B, _>(&twin, |id, old| {
            states.contains(&id).then(|| constant::<B>(&old, old.shape(), number(old.dtype())))
        });
    };
    // Only reading from the device costs something, and that is done for states alone.
    let end = || Statistics::of(&twin);
    start(large);
    run(&first);
    let moved = end();
    let kept: BTreeMap<_, _> =
        states.iter().filter_map(|id| Some((*id, share_kept::<B>(moved.get(*id)?.clone())?))).collect();
    start(|_| 0.0);
    run(&first);
    let mut passes = 1;
    for forward in forwards {
        run(&forward);
        passes += 1;
    }
    let found = end();
    write::<B, _>(&copy, |id, _| {
        let (kept, value) = (kept.get(&id)?, found.get(id)?.clone());
        // What a start from zero lacks.
        let weight = 1.0 - kept.powi(passes);
        Some(B::float_div_scalar(value, (weight as f32).into()))
    });
    copy
}

/// A number next to which what one pass adds does not count.
fn large(dtype: DType) -> f32 {
    if dtype == DType::F16 { 32768.0 } else { 2.0_f32.powi(64) }
}

/// The share of the old value that one pass keeps, from a state that started at [`large`]: in [0, 1), the same for all elements.
fn share_kept<B: Backend>(value: FloatTensor<B>) -> Option<f64> {
    /// How far elements may differ: by the rounding of one product, and in half precision by what the pass has added.
    const ROUNDING: f64 = 1e-3;
    let large = f64::from(large(value.dtype()));
    let data = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(B::float_reshape(value.clone(), flat(&value))));
    let shares: Vec<f64> = data.into_data().iter::<f64>().map(|element| element / large).collect();
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let average = shares.iter().sum::<f64>() / shares.len() as f64;
    ((-ROUNDING..1.0).contains(&least) && most - least <= ROUNDING && average < 1.0).then_some(average.max(0.0))
}

fn flat<T: TensorMetadata>(value: &T) -> Shape {
    Shape::new([value.shape().num_elements()])
}

fn constant<B: Backend>(like: &FloatTensor<B>, shape: Shape, number: f32) -> FloatTensor<B> {
    let zeros = B::float_zeros(shape, &B::float_device(like), like.dtype().into());
    B::float_add_scalar(zeros, number.into())
}

/// The running states of a module of which nobody else has a clone.
///
/// A module shows them as parameters. They differ in one thing: what is written to a clone shows in the module. So each gets
/// another shape for a moment, and no data is read.
fn states<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M) -> BTreeSet<ParamId> {
    let before = Statistics::of(module);
    let other = |shape: &Shape| {
        let extent = if shape.num_elements() == 1 { 2 } else { 1 };
        Shape::from(vec![extent; shape.num_dims()])
    };
    write::<B, _>(module, |_, old| Some(constant::<B>(&old, other(&old.shape()), 0.0)));
    let after = Statistics::of(module);
    before.restore(module);
    let changed = before.iter().filter(|(id, value)| after.get(*id).is_some_and(|it| it.shape() != value.shape()));
    changed.map(|(id, _)| id).collect()
}
