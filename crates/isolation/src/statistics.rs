//! Running statistics of a module: put back, and estimated anew.

use std::{any::Any, collections::BTreeMap};

use burn::{
    module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{
        Bool, DType, Int, Shape, Tensor, TensorMetadata, TensorPrimitive,
        backend::{AutodiffBackend, Backend},
        ops::FloatTensor,
    },
};

/// The running statistics of a module, such as those of a batch normalisation, as they were at one moment. Nothing is copied but
/// handles.
///
/// A pass in training mode moves them in the module itself. [`restore`](Self::restore) puts them back there, so a step that is not
/// taken need not replace the module, whose parameters would lose their mappers.
pub struct Statistics<B: Backend> {
    values: BTreeMap<ParamId, FloatTensor<B>>,
    /// In the order in which the module is visited: replicas of a module may have other ids.
    order: Vec<ParamId>,
}

impl<B: AutodiffBackend> Statistics<B> {
    /// The running statistics of the module now. (Frozen parameters, which look the same, are listed too.)
    #[must_use]
    pub fn of<M: AutodiffModule<B>>(module: &M) -> Self {
        let mut all = Self { values: BTreeMap::new(), order: Vec::new() };
        if has_untrained(module) {
            settle(module);
            module.visit(&mut all);
        }
        all
    }

    /// Gives the module's running statistics these values, in place: all clones of the module have them too. Its parameters stay
    /// as they are.
    pub fn restore<M: AutodiffModule<B>>(&self, module: &M) {
        if self.values.is_empty() {
            return;
        }
        write(module, |id, _| self.values.get(&id).cloned());
    }

    /// By how much the module's running statistics have moved since, one after the other, as 32-bit floats of shape `[n]`. `None` of a
    /// module that has none.
    #[must_use]
    pub fn moved<M: AutodiffModule<B>>(&self, module: &M) -> Option<Tensor<B::InnerBackend, 1>> {
        let now = if self.order.is_empty() { return None } else { Self::of(module) };
        let moved = |id: &ParamId| Some(flat::<B>(now.get(*id)?) - flat::<B>(self.get(*id)?));
        let moved: Vec<_> = self.order.iter().filter_map(moved).collect();
        (!moved.is_empty()).then(|| Tensor::cat(moved, 0))
    }

    /// Gives the module's running statistics the values from here, moved by `by`, which is as [`moved`](Self::moved) gives it.
    pub fn restore_moved<M: AutodiffModule<B>>(&self, module: &M, by: &Tensor<B::InnerBackend, 1>) {
        let (mut at, mut values) = (0, BTreeMap::new());
        for (id, before) in self.order.iter().filter_map(|id| Some((id, self.get(*id)?))) {
            let (shape, dtype) = (before.shape(), before.dtype());
            let (from, to) = (at, at + shape.num_elements());
            if to > by.dims()[0] {
                return;
            }
            at = to;
            let value = (flat::<B>(before) + by.clone().narrow(0, from, to - from)).cast(dtype);
            let value = Tensor::<B, 1>::from_inner(value).into_primitive().tensor();
            values.insert(*id, B::float_reshape(value, shape));
        }
        write(module, |id, _| values.get(&id).cloned());
    }

    pub(crate) fn get(&self, id: ParamId) -> Option<&FloatTensor<B>> {
        self.values.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ParamId, &FloatTensor<B>)> {
        self.values.iter().map(|(id, value)| (*id, value))
    }
}

fn flat<B: AutodiffBackend>(values: &FloatTensor<B>) -> Tensor<B::InnerBackend, 1> {
    let shape = Shape::new([values.shape().num_elements()]);
    let flat = B::float_reshape(values.clone(), shape);
    Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(flat)).inner().cast(DType::F32)
}

/// Whether the module has a number that learns nothing, as running statistics are. Most modules have none.
fn has_untrained<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M) -> bool {
    struct Untrained(bool);
    impl<B: Backend> ModuleVisitor<B> for Untrained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 |= !param.is_require_grad();
        }
    }
    let mut untrained = Untrained(false);
    module.visit(&mut untrained);
    untrained.0
}

impl<B: Backend> ModuleVisitor<B> for Statistics<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !param.is_require_grad() {
            let value = param.val().into_primitive().tensor();
            if self.values.insert(param.id, value).is_none() {
                self.order.push(param.id);
            }
        }
    }
}

impl<B: Backend> std::fmt::Debug for Statistics<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// A copy of the module that has nothing in common with it but the values: running statistics and leaves of the graph of its own.
/// Every parameter keeps its mappers, as of a linear layer in column layout, and whether it learns. No data is copied.
///
/// `M::from_inner(module.valid())` has running statistics of its own, too, but loses the mappers; a clone has the mappers and shares
/// the statistics.
#[must_use]
pub fn independent_copy<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M) -> M {
    let copy = M::from_inner(module.valid());
    let mut originals = Originals(BTreeMap::new());
    module.visit(&mut originals);
    copy.map(&mut originals)
}

/// The parameters of a module with all that belongs to them.
struct Originals(BTreeMap<ParamId, Box<dyn Any>>);

impl Originals {
    fn keep<T: Any>(&mut self, id: ParamId, param: T) {
        self.0.insert(id, Box::new(param));
    }

    fn find<T: Any + Clone>(&self, id: ParamId) -> Option<T> {
        self.0.get(&id)?.downcast_ref().cloned()
    }
}

impl<B: Backend> ModuleVisitor<B> for Originals {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.keep(param.id, param.clone());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.keep(param.id, param.clone());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<B, D, Bool>>) {
        self.keep(param.id, param.clone());
    }
}

/// Gives a parameter everything but the value of the original.
impl<B: Backend> ModuleMapper<B> for Originals {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let value = param.val();
        self.find(param.id).unwrap_or(param).map(|_| value)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        let value = param.val();
        self.find(param.id).unwrap_or(param).map(|_| value)
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        let value = param.val();
        self.find(param.id).unwrap_or(param).map(|_| value)
    }
}

/// Lets updates count that are waiting for the next pass.
pub(crate) fn settle<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M) {
    drop(module.valid());
}

/// Writes running statistics in place; `value` is asked for what has no gradient, and `None` leaves it as it is.
pub(crate) fn write<B, M>(module: &M, value: impl Fn(ParamId, FloatTensor<B>) -> Option<FloatTensor<B>>)
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
{
    settle(module);
    // Burn's `RunningState` writes through to what its clones share, while the parameters of the clone are dropped with it.
    drop(module.clone().map(&mut Write(value)));
}

struct Write<F>(F);

impl<B: Backend, F: Fn(ParamId, FloatTensor<B>) -> Option<FloatTensor<B>>> ModuleMapper<B> for Write<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if param.is_require_grad() {
            return param;
        }
        let value = (self.0)(param.id, param.val().into_primitive().tensor());
        match value {
            None => param,
            Some(value) => param.map(|_| Tensor::from_primitive(TensorPrimitive::Float(value))),
        }
    }
}
