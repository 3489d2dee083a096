//! Blends in every mode, on ranks 2 to 4, forward and backward.

use burn::tensor::Tensor;
use kasmina::{
    GraftBackend,
    blending::{Alpha, BlendConfig, barrier_blend, channel_axis, committed_blend},
};

use crate::{
    Cases, Reference,
    failure::{Failure, refused},
    numbers::{Numbers, compare, random, read},
    report::Checked,
};

/// Three operations on numbers of size 1, each rounded to f32 (6e-8), and the sigmoid of CONFIDENCE, which a device may approximate.
const TOLERANCE: f64 = 1e-5;

struct Case<const D: usize> {
    shape: [usize; D],
    config: BlendConfig,
    alpha: Alpha,
    seed: u64,
}

pub(crate) fn check<B: GraftBackend>(cases: Cases) -> Result<Checked, Failure> {
    let mut draw = fastrand::Rng::with_seed(cases.seed);
    let mut worst = 0.0_f64;
    for number in 0..cases.count {
        let apart = match number % 3 {
            0 => one::<B, 2>(number, &mut draw),
            1 => one::<B, 3>(number, &mut draw),
            _ => one::<B, 4>(number, &mut draw),
        };
        worst = worst.max(apart?);
    }
    Ok(Checked { cases: cases.count, worst, tolerance: TOLERANCE })
}

fn one<B: GraftBackend, const D: usize>(number: usize, draw: &mut fastrand::Rng) -> Result<f64, Failure> {
    let shape: [usize; D] = std::array::from_fn(|_| draw.usize(1..12));
    let channels = channel_axis(D).map_or(1, |axis| shape[axis]);
    // Twelve cases have every mode on every rank, at an alpha between 0 and 1; the next ones are at 0, and those after them at 1.
    let config = match number / 3 % 4 {
        0 => Ok(BlendConfig::convex()),
        1 => Ok(BlendConfig::residual()),
        2 => BlendConfig::channel((0..channels).map(|_| draw.f32()).collect()),
        _ => BlendConfig::confidence(4.0, 0.2, 0.1, 0.9),
    };
    let config = config.map_err(refused("the blend"))?;
    let alpha = Alpha::new([draw.f32(), 0.0, 1.0][number / 12 % 3]).map_err(refused("alpha"))?;
    let case = Case { shape, config, alpha, seed: draw.u64(..) };
    let name = format!("case {number}: {:?} at {} on {:?}", case.config.mode(), alpha.get(), shape);
    compare(&name, &run::<B, D>(&case)?, &run::<Reference, D>(&case)?, TOLERANCE)
}

fn run<B: GraftBackend, const D: usize>(case: &Case<D>) -> Result<Numbers, Failure> {
    let mut draw = fastrand::Rng::with_seed(case.seed);
    let mut tensor = || random::<B, D>(&mut draw, case.shape);
    let (host, seed, weight) = (tensor().require_grad(), tensor().require_grad(), tensor());
    let logits = random::<B, 2>(&mut draw, [case.shape[0], 5]);
    let mut numbers = Numbers::new();
    for (name, blend) in
        [("behind the barrier", barrier_blend::<B, D> as fn(_, _, &_, _, _) -> _), ("committed", committed_blend)]
    {
        let blended: Result<Tensor<B, D>, _> =
            blend(host.clone(), seed.clone(), &case.config, case.alpha, Some(logits.clone()));
        let blended = blended.map_err(refused("the blend"))?;
        let gradients = (blended.clone() * weight.clone()).sum().backward();
        for (of, input) in [("host", &host), ("seed", &seed)] {
            // None is not zero: behind the barrier the host has no gradient at all.
            let gradient = input.grad(&gradients).map(read).unwrap_or_default();
            numbers.push((format!("gradient of the {of}, {name}"), gradient));
        }
        numbers.push((format!("output, {name}"), read(blended)));
    }
    Ok(numbers)
}
