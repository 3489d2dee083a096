//! Blends of two buffers, beside the copy of one, the plain expression, and each other.

use std::{any::TypeId, hint::black_box};

use burn::{
    backend::Flex,
    tensor::{Distribution, Tensor, backend::Backend},
};
use kasmina::{
    GraftBackend,
    blending::{BlendConfig, BlendMode, barrier_blend},
    safety::{Clock, SystemClock},
};
use kasmina_measure::{Limit, Meter, Row, Samples, Side};
use rayon::prelude::*;

use crate::{
    case::Case,
    setting::{Setting, alpha},
};

/// `[batch, channels, height, width]` of 1k to 64M elements, four times as many each.
const SHAPES: [(&str, [usize; 4]); 9] = [
    ("1k", [1, 16, 8, 8]),
    ("4k", [4, 16, 8, 8]),
    ("16k", [16, 16, 8, 8]),
    ("64k", [64, 16, 8, 8]),
    ("256k", [64, 16, 16, 16]),
    ("1m", [64, 64, 16, 16]),
    ("4m", [64, 64, 32, 32]),
    ("16m", [256, 64, 32, 32]),
    ("64m", [256, 256, 32, 32]),
];
/// The largest size of a quick run.
const QUICK: usize = 4 << 20;
/// From this size on, memory bounds a blend, and a copy says what is possible.
const LARGE: usize = 1 << 20;
/// From this size on, the making of a mode's weights is small beside the blend.
const HUGE: usize = 4 << 20;
/// A blend reads two buffers and writes one; a copy reads one and writes one.
const BLENDED: f64 = 1.5;
/// Forward, a blend reads two buffers and writes one; backward, it reads one and writes one.
const FORWARD_BACKWARD: f64 = 2.5;
const CLASSES: usize = 10;
/// What each may cost beside CONVEX, and the size from which on it must not cost more.
const MODES: [(&str, BlendMode, f64, usize); 3] = [
    ("residual", BlendMode::Residual, 1.05, LARGE),
    ("channel", BlendMode::Channel, 1.15, HUGE),
    ("confidence", BlendMode::Confidence, 1.05, HUGE),
];

/// Host, seed and logits.
struct Blended<B: GraftBackend> {
    host: Tensor<B::InnerBackend, 4>,
    seed: Tensor<B::InnerBackend, 4>,
    logits: Tensor<B::InnerBackend, 2>,
    setting: Setting<B>,
}

pub(crate) fn cases<B: GraftBackend>(setting: &Setting<B>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, shape) in SHAPES {
        let elements: usize = shape.iter().product();
        if setting.quick && elements > QUICK {
            continue;
        }
        let case = |row: Row, sides: fn(&Blended<B>, Meter<'_>) -> Samples| {
            let setting = setting.clone();
            Case::new(row, move |meter| sides(&Blended::new(shape, setting), meter))
        };
        let convex = Row::new(format!("blend/convex/{size}/copy"), format!("blend, convex, {size} f32"));
        let convex = convex.beside("a copy of one buffer").doing(BLENDED).aim(Limit::RatioAtLeast(0.95));
        // Smaller ones cost what it takes to call Burn.
        let convex = if elements >= LARGE { convex.budget(Limit::RatioAtLeast(0.8)) } else { convex };
        cases.push(case(convex, |blended, meter| meter.pair(blended.mode(BlendMode::Convex), blended.copy(1.0))));
        let convex = Row::new(format!("blend/convex/{size}/plain"), format!("blend, convex, {size} f32"));
        let convex = convex.beside("h (1 - a) + s a").budget(Limit::RatioAtMost(1.0));
        cases.push(case(convex, |blended, meter| meter.pair(blended.mode(BlendMode::Convex), blended.plain())));
        for (name, mode, most, from) in MODES {
            let row = Row::new(format!("blend/{name}/{size}"), format!("blend, {name}, {size} f32"));
            let row = row.beside("convex").aim(Limit::RatioAtMost(most));
            let row = if elements >= from { row.budget(Limit::RatioAtMost(most)) } else { row };
            let setting = setting.clone();
            cases.push(Case::new(row, move |meter| {
                let blended = Blended::new(shape, setting);
                meter.pair(blended.mode(mode), blended.mode(BlendMode::Convex))
            }));
        }
    }
    cases.extend(with_backward(setting));
    cases
}

/// Forward and backward of [256, 64, 32, 32], or [64, 64, 32, 32] in a quick run.
fn with_backward<B: GraftBackend>(setting: &Setting<B>) -> [Case; 2] {
    let (size, shape) = if setting.quick { ("4m", [64, 64, 32, 32]) } else { ("16m", [256, 64, 32, 32]) };
    let title = format!("blend, convex, {size} f32, and its backward pass");
    let row = Row::new(format!("blend/backward/{size}/copy"), title.clone());
    let row = row.beside("copies of the bytes that it must touch").budget(Limit::RatioAtMost(2.0));
    let copied = setting.clone();
    let beside_copy = Case::new(row, move |meter| {
        let blended = Blended::new(shape, copied);
        meter.slow().pair(blended.backward(blend), blended.copy(FORWARD_BACKWARD))
    });
    let row = Row::new(format!("blend/backward/{size}/plain"), title);
    let row = row.beside("the plain expression's").budget(Limit::RatioAtMost(1.0));
    let setting = setting.clone();
    let beside_plain = Case::new(row, move |meter| {
        let blended = Blended::new(shape, setting);
        let plain = |host: Tensor<B, 4>, seed: Tensor<B, 4>| expression(host.detach(), seed);
        meter.slow().pair(blended.backward(blend), blended.backward(plain))
    });
    [beside_copy, beside_plain]
}

fn blend<B: GraftBackend>(host: Tensor<B, 4>, seed: Tensor<B, 4>) -> Tensor<B, 4> {
    barrier_blend(host, seed, &BlendConfig::convex(), alpha(), None).expect("they fit")
}

fn expression<B: Backend>(host: Tensor<B, 4>, seed: Tensor<B, 4>) -> Tensor<B, 4> {
    host * (1.0 - alpha().get()) + seed * alpha().get()
}

impl<B: GraftBackend> Blended<B> {
    fn new(shape: [usize; 4], setting: Setting<B>) -> Self {
        let random = || Tensor::random(shape, Distribution::Default, &setting.device);
        let (host, seed) = (random(), random());
        let logits = Tensor::random([shape[0], CLASSES], Distribution::Default, &setting.device);
        Self { host, seed, logits, setting }
    }

    fn mode(&self, mode: BlendMode) -> Side<'_> {
        let config = self.setting.blend.config(mode, self.host.dims()[1]);
        let logits = (mode == BlendMode::Confidence).then(|| self.logits.clone());
        self.synced(move || {
            let (host, seed) = (self.host.clone(), self.seed.clone());
            barrier_blend(host, seed, &config, alpha(), logits.clone()).expect("they fit")
        })
    }

    fn plain(&self) -> Side<'_> {
        self.synced(|| expression(self.host.clone(), self.seed.clone()))
    }

    fn backward(&self, forward: impl Fn(Tensor<B, 4>, Tensor<B, 4>) -> Tensor<B, 4> + 'static) -> Side<'_> {
        let host = Tensor::<B, 4>::from_inner(self.host.clone());
        let seed = Tensor::<B, 4>::from_inner(self.seed.clone()).require_grad();
        self.synced(move || {
            let gradients = forward(host.clone(), seed.clone()).backward();
            seed.grad(&gradients).expect("the seed learns")
        })
    }

    /// Copies one buffer so many times. On a device other than the CPU, a copy is a pass that multiplies by a number.
    fn copy(&self, times: f64) -> Side<'_> {
        let (whole, rest) = (times.trunc() as usize, times.fract());
        if self.is_on_cpu() {
            let buffer = self.host.to_data().to_vec::<f32>().expect("floats");
            let copy = quickest(&buffer);
            let part = (rest * buffer.len() as f64) as usize;
            return Side::repeat(move || {
                (0..whole).for_each(|_| drop(black_box(copy(&buffer))));
                copy(&buffer[..part])
            });
        }
        let part =
            (rest > 0.0).then(|| self.host.clone().slice(0..(rest * self.host.dims()[0] as f64).ceil() as usize));
        self.synced(move || {
            (0..whole).for_each(|_| drop(self.host.clone().mul_scalar(0.5)));
            part.clone().map(|part| part.mul_scalar(0.5))
        })
    }

    fn is_on_cpu(&self) -> bool {
        TypeId::of::<B::InnerBackend>() == TypeId::of::<Flex>()
    }

    /// On a device that queues, the time ends when the queue is empty.
    fn synced<'a, R>(&'a self, mut act: impl FnMut() -> R + 'a) -> Side<'a> {
        Side::repeat(move || {
            let result = act();
            self.setting.sync();
            result
        })
    }
}

type Copy = fn(&[f32]) -> Vec<f32>;

/// A copy on one thread or on all of them, whichever is faster for this buffer here.
fn quickest(buffer: &[f32]) -> Copy {
    let all: Copy = |buffer| {
        let mut copy = vec![0.0; buffer.len()];
        let chunk = buffer.len().div_ceil(rayon::current_num_threads()).max(1);
        copy.par_chunks_mut(chunk).zip(buffer.par_chunks(chunk)).for_each(|(to, from)| to.copy_from_slice(from));
        copy
    };
    let clock = SystemClock::new();
    let time = |copy: &Copy| {
        let one = |_| {
            let started = clock.monotonic();
            drop(black_box(copy(buffer)));
            clock.monotonic().since(started)
        };
        let mut times: Vec<_> = (0..31).map(one).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let one: Copy = <[f32]>::to_vec;
    if time(&all) < time(&one) { all } else { one }
}
