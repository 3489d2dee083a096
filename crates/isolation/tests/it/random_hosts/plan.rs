//! Random hosts: directed graphs of layers with slots in them, and what each of them promises.

use std::collections::BTreeSet;

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, conv::Conv2d, conv::Conv2dConfig},
    tensor::{Tensor, TensorPrimitive, activation::relu, backend::Backend},
};
use kasmina_blending::BlendBackend;
use kasmina_isolation::Grafts;

use super::Random;
use crate::world::ramp;

pub(crate) const SLOTS: [&str; 3] = ["s0", "s1", "s2"];
const LAYERS: usize = 3;

/// An operation of a host. Operands are the numbers of earlier operations.
#[derive(Clone, Copy, Debug)]
enum Op {
    Input,
    /// A linear layer, in rank 4 a convolution. Its weights may be used several times.
    Layer(usize, usize),
    Relu(usize),
    Tanh(usize),
    Square(usize),
    Add(usize, usize),
    Mul(usize, usize),
    Norm(usize),
    Dropout(usize),
    Slot {
        name: &'static str,
        of: usize,
        tap: Option<usize>,
        lazy: bool,
    },
}

/// What a host promises about plain Burn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// No tensor is used three times or more: the same bytes.
    FewUses,
    /// Some are, and no slot tells their uses apart: the same bytes.
    SameForSlots,
    /// None.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Plan {
    rank: usize,
    ops: Vec<Op>,
    frozen: BTreeSet<usize>,
}

/// The parameters of a host.
#[derive(Module, Debug)]
pub(crate) struct Pool<B: Backend> {
    linear: Vec<Linear<B>>,
    conv: Vec<Conv2d<B>>,
    norm: BatchNorm<B>,
    dropout: Dropout,
}

impl Plan {
    pub(crate) fn random(random: &mut Random) -> Self {
        let blocks = random.one_in(3);
        let mut plan =
            Self { rank: 2 + random.below(3), ops: vec![Op::Input, Op::Layer(0, 0)], frozen: BTreeSet::new() };
        let mut block = usize::from(blocks);
        for _ in 0..3 + random.below(10) {
            let (near, last) = (block, plan.ops.len() - 1);
            let mut any = || if random.one_in(2) { last } else { near + random.below(last + 1 - near) };
            let (a, b) = (any(), any());
            let op = match random.below(17) {
                0..4 => Op::Layer(random.below(LAYERS), a),
                4 | 5 => Op::Relu(a),
                6 | 7 => Op::Tanh(a),
                8 => Op::Square(a),
                9..12 => Op::Add(a, b),
                12 => Op::Mul(a, b),
                13 => Op::Norm(a),
                14 => Op::Dropout(a),
                _ => {
                    // In a chain of blocks, nothing goes past a slot.
                    let of = if blocks { plan.join(block) } else { a };
                    block = if blocks { plan.ops.len() } else { 0 };
                    let tap = random.one_in(4).then_some(b).filter(|_| !blocks);
                    Op::Slot { name: SLOTS[random.below(SLOTS.len())], of, tap, lazy: random.one_in(4) }
                }
            };
            plan.ops.push(op);
        }
        // What is not joined is computed for nothing; a slot may be there too.
        if blocks || !random.one_in(5) {
            plan.join(block);
        }
        // The first layer is frozen now and then: a slot behind it sees an activation without a gradient.
        plan.frozen.extend(random.one_in(4).then_some(0));
        plan
    }

    /// Adds up what nobody has used yet, from the operation `from` on; gives the sum.
    fn join(&mut self, from: usize) -> usize {
        let used: BTreeSet<_> = self.ops.iter().flat_map(|op| op.operands()).map(|(of, _)| of).collect();
        let unused: Vec<_> = (from.max(1)..self.ops.len()).filter(|op| !used.contains(op)).collect();
        unused.into_iter().reduce(|sum, other| {
            self.ops.push(Op::Add(sum, other));
            self.ops.len() - 1
        });
        self.ops.len() - 1
    }

    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    pub(crate) fn init<B: Backend>(&self) -> Pool<B> {
        let device = Default::default();
        let frozen = |layer: usize| self.frozen.contains(&layer);
        let linear = (0..LAYERS).map(|layer| {
            let linear = LinearConfig::new(4, 4).init(&device);
            if frozen(layer) { linear.no_grad() } else { linear }
        });
        let conv = (0..LAYERS).map(|layer| {
            let conv = Conv2dConfig::new([4, 4], [1, 1]).init(&device);
            if frozen(layer) { conv.no_grad() } else { conv }
        });
        Pool {
            linear: linear.collect(),
            conv: conv.collect(),
            norm: BatchNormConfig::new(4).init(&device),
            dropout: DropoutConfig::new(0.3).init(),
        }
    }

    /// The names of its slots.
    pub(crate) fn slots(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.visits().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn visits(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.ops.iter().enumerate().filter_map(|(number, op)| match op {
            Op::Slot { name, .. } => Some((number, *name)),
            Op::Input
            | Op::Layer(..)
            | Op::Relu(_)
            | Op::Tanh(_)
            | Op::Square(_)
            | Op::Add(..)
            | Op::Mul(..)
            | Op::Norm(_)
            | Op::Dropout(_) => None,
        })
    }

    /// Whether one of the slots comes before the other on a path through the host.
    pub(crate) fn in_sequence(&self, one: &str, other: &str) -> bool {
        let visits =
            |wanted: &str| self.visits().filter(|(_, name)| *name == wanted).map(|(op, _)| op).collect::<Vec<_>>();
        let behind = |one: &str, other: &str| {
            visits(one).iter().any(|op| visits(other).iter().any(|other| self.before(*op).contains(other)))
        };
        one == other || behind(one, other) || behind(other, one)
    }

    /// Whether the host has something to learn.
    pub(crate) fn learns(&self) -> bool {
        self.learning(self.ops.len() - 1)
    }

    pub(crate) fn loss<B: BlendBackend>(&self, pool: &Pool<B>, grafts: &mut Grafts<B>, step: usize) -> Tensor<B, 1> {
        match self.rank {
            2 => self.run([6, 4], pool, grafts, step),
            3 => self.run([3, 4, 4], pool, grafts, step),
            _ => self.run([2, 4, 3, 3], pool, grafts, step),
        }
    }

    fn run<B: BlendBackend, const D: usize>(
        &self,
        shape: [usize; D],
        pool: &Pool<B>,
        grafts: &mut Grafts<B>,
        step: usize,
    ) -> Tensor<B, 1> {
        let mut values: Vec<Tensor<B, D>> = Vec::new();
        for op in &self.ops {
            let of = |number: usize| values[number].clone();
            let value = match *op {
                Op::Input => ramp(shape, 3 + step),
                Op::Layer(layer, a) if D == 4 => {
                    let a = Tensor::from_primitive(of(a).into_primitive());
                    let out = pool.conv[layer].forward(a).into_primitive();
                    Tensor::from_primitive(TensorPrimitive::Float(out.tensor()))
                }
                Op::Layer(layer, a) => pool.linear[layer].forward(of(a)),
                Op::Relu(a) => relu(of(a)),
                Op::Tanh(a) => of(a).tanh(),
                Op::Square(a) => of(a).square().tanh(),
                Op::Add(a, b) => of(a) + of(b),
                Op::Mul(a, b) => (of(a) * of(b)).tanh(),
                Op::Norm(a) => pool.norm.forward(of(a)),
                Op::Dropout(a) => pool.dropout.forward(of(a)),
                Op::Slot { name, of: a, tap: None, lazy: false } => grafts.at(name, of(a)),
                Op::Slot { name, of: a, tap: None, lazy: true } => grafts.at_lazy(name, || of(a)),
                Op::Slot { name, of: a, tap: Some(tap), lazy: false } => grafts.at_with_tap(name, of(tap), of(a)),
                Op::Slot { name, of: a, tap: Some(tap), lazy: true } => {
                    grafts.at_lazy_with_tap(name, || (of(tap), of(a)))
                }
            };
            values.push(value);
        }
        let out = values.pop().unwrap();
        // The samples of a batch are the first axis in every rank.
        grafts.offer_logits(out.clone().detach().flatten::<2>(1, D - 1));
        (out - ramp(shape, 5 + step)).square().mean()
    }
}

/// The promise.
impl Plan {
    pub(crate) fn promise(&self) -> Promise {
        let tensors = (0..self.ops.len()).filter(|op| self.learning(*op) && !self.is_slot(*op));
        let of_tensors = tensors.map(|tensor| self.uses_of(tensor));
        let layers = (0..LAYERS).filter(|layer| !self.frozen.contains(layer)).map(|layer| self.uses_of_layer(layer));
        let norm = std::iter::once(self.uses_of_norm());
        of_tensors.chain(layers).chain(norm).map(|uses| self.promise_for(&uses)).max().unwrap()
    }

    fn promise_for(&self, uses: &[Use]) -> Promise {
        if uses.iter().map(|one| one.times).sum::<usize>() < 3 {
            return Promise::FewUses;
        }
        let through_the_same = uses.iter().all(|one| one.through == uses[0].through);
        let pairs = uses.iter().flat_map(|one| uses.iter().map(move |other| (one.by, other.by)));
        let mut parallel = pairs.filter(|(one, other)| one < other && !self.before(*other).contains(one));
        if through_the_same && parallel.all(|(one, other)| self.slots_see_no_difference(one, other)) {
            Promise::SameForSlots
        } else {
            Promise::Nothing
        }
    }

    /// Whether two operations lie behind the same slots and get what was computed before those only through them.
    fn slots_see_no_difference(&self, one: usize, other: usize) -> bool {
        let slots = |op: usize| -> Vec<_> { self.before(op).into_iter().filter(|op| self.is_slot(*op)).collect() };
        let behind = slots(one);
        let only_through = |slot: usize, op: usize| {
            let past = self.reachable(op, Some(slot));
            past.into_iter().all(|op| op == 0 || op == slot || self.before(op).contains(&slot))
        };
        behind == slots(other) && behind.into_iter().all(|slot| only_through(slot, one) && only_through(slot, other))
    }

    fn is_slot(&self, op: usize) -> bool {
        matches!(self.ops[op], Op::Slot { .. })
    }

    /// Whether a gradient comes to what the operation computes, and goes on to a parameter.
    fn learning(&self, op: usize) -> bool {
        let learns = |op: &usize| match self.ops[*op] {
            Op::Layer(layer, _) => !self.frozen.contains(&layer),
            Op::Norm(_) => true,
            Op::Input
            | Op::Relu(_)
            | Op::Tanh(_)
            | Op::Square(_)
            | Op::Add(..)
            | Op::Mul(..)
            | Op::Dropout(_)
            | Op::Slot { .. } => false,
        };
        learns(&op) || self.before(op).iter().any(learns)
    }

    /// The operations that this one depends on.
    fn before(&self, op: usize) -> BTreeSet<usize> {
        let mut before = self.reachable(op, None);
        before.remove(&op);
        before
    }

    /// The operation and those before it that it reaches without going through `stop`.
    fn reachable(&self, op: usize, stop: Option<usize>) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::new(), vec![op]);
        while let Some(op) = open.pop() {
            if found.insert(op) && Some(op) != stop {
                open.extend(self.ops[op].operands().into_iter().map(|(of, _)| of));
            }
        }
        found
    }

    fn uses_of(&self, tensor: usize) -> Vec<Use> {
        let mut uses = Vec::new();
        for (by, op) in self.ops.iter().enumerate().filter(|(by, _)| !self.is_slot(*by)) {
            for (mut of, times) in op.operands() {
                let (mut by, mut through) = (by, Vec::new());
                while let Op::Slot { of: before, .. } = self.ops[of] {
                    if through.is_empty() && self.stands_for_its_use(of) {
                        by = of;
                    } else {
                        through.push(of);
                    }
                    of = before;
                }
                uses.extend((of == tensor).then_some(Use { by, through, times }));
            }
        }
        uses
    }

    /// Whether a slot has one use, by an operation with one operand: the two are then one use of what the slot reads.
    fn stands_for_its_use(&self, slot: usize) -> bool {
        let users = self.ops.iter().flat_map(|op| op.operands().into_iter().map(move |(of, times)| (of, times, op)));
        let mut users = users.filter(|(of, ..)| *of == slot);
        let only = users.next().filter(|_| users.next().is_none());
        only.is_some_and(|(_, times, op)| times == 1 && op.operands().len() == 1)
    }

    fn uses_of_layer(&self, layer: usize) -> Vec<Use> {
        self.users(|op| matches!(op, Op::Layer(of, _) if *of == layer))
    }

    fn uses_of_norm(&self) -> Vec<Use> {
        self.users(|op| matches!(op, Op::Norm(_)))
    }

    fn users(&self, uses: impl Fn(&Op) -> bool) -> Vec<Use> {
        let users = self.ops.iter().enumerate().filter(|(_, op)| uses(op));
        users.map(|(by, _)| Use { by, through: Vec::new(), times: 1 }).collect()
    }
}

/// A use of a tensor.
struct Use {
    by: usize,
    /// The slots that it has gone through on the way, without being changed.
    through: Vec<usize>,
    /// How often the operation uses it.
    times: usize,
}

impl Op {
    /// The operands, and how often each is used.
    fn operands(&self) -> Vec<(usize, usize)> {
        match *self {
            Self::Input => vec![],
            Self::Layer(_, a) | Self::Relu(a) | Self::Tanh(a) | Self::Dropout(a) => vec![(a, 1)],
            Self::Slot { of, .. } => vec![(of, 1)],
            Self::Square(a) => vec![(a, 2)],
            Self::Add(a, b) | Self::Mul(a, b) => vec![(a, 1), (b, 1)],
            Self::Norm(a) => vec![(a, 3)],
        }
    }
}
