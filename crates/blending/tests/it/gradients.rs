//! Values and gradients of every mode on ranks 2, 3 and 4, against f64.

use crate::common::{bits, noise, tensor, values};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use kasmina_blending::{
    Alpha, BlendBackend, BlendConfig, BlendError, GraftBackend, Stash, barrier_blend, channel_axis, check_fit,
    committed_blend, pull_back, tap,
};

type A = Autodiff<Flex>;

const K: f64 = 2.5;
const TAU: f64 = 0.3;
const CLASSES: usize = 5;

#[test]
fn every_mode_on_every_rank_matches_the_reference() {
    every_mode([6, 5]);
    every_mode([3, 4, 5]);
    every_mode([3, 4, 2, 3]);
    every_mode([1, 1]);
    every_mode([0, 3, 2, 2]);
}

#[test]
fn every_mode_across_chunks_matches_the_reference() {
    every_mode([5, 104_903]);
    every_mode([3, 1_381, 127]);
    every_mode([4, 7, 137, 139]);
}

/// The weights of host and seed for each element, in f64.
struct Reference {
    config: BlendConfig,
    host: Vec<f64>,
    seed: Vec<f64>,
}

fn every_mode<const D: usize>(shape: [usize; D]) {
    let axis = channel_axis(D).unwrap();
    let alpha_vec: Vec<f32> = noise(shape[axis], 7).iter().map(|value| value.abs() / 2.0).collect();
    let logits = tensor::<A, 2>([shape[0], CLASSES], 11).require_grad();
    for alpha in [0.0, 0.37, 1.0].map(|alpha| Alpha::new(alpha).unwrap()) {
        let a = f64::from(alpha.get());
        let count = shape.iter().product();
        let convex = |config, seed: Vec<f64>| Reference { config, host: seed.iter().map(|w| 1.0 - w).collect(), seed };
        let by_channel = index_along(&shape, axis).into_iter().map(|c| a * f64::from(alpha_vec[c])).collect();
        let gates = gate_reference(&values(&logits), a);
        let by_sample = index_along(&shape, 0).into_iter().map(|n| gates[n]).collect();
        for reference in [
            convex(BlendConfig::convex(), vec![a; count]),
            Reference { config: BlendConfig::residual(), host: vec![1.0; count], seed: vec![a; count] },
            convex(BlendConfig::channel(alpha_vec.clone()).unwrap(), by_channel),
            convex(BlendConfig::confidence(K as f32, TAU as f32, 0.1, 0.8).unwrap(), by_sample),
        ] {
            one_blend(shape, &reference, alpha, &logits);
        }
    }
}

fn gate_reference(logits: &[f32], alpha: f64) -> Vec<f64> {
    let gate = |row: &[f32]| {
        let mut row: Vec<f64> = row.iter().map(|logit| f64::from(*logit)).collect();
        row.sort_by(|left, right| right.total_cmp(left));
        (alpha / (1.0 + (-K * (row[0] - row[1] - f64::from(TAU as f32))).exp()))
            .clamp(f64::from(0.1_f32), f64::from(0.8_f32))
    };
    logits.chunks(CLASSES).map(gate).collect()
}

fn one_blend<const D: usize>(shape: [usize; D], reference: &Reference, alpha: Alpha, logits: &Tensor<A, 2>) {
    let config = &reference.config;
    let host = tensor::<A, D>(shape, 1).require_grad();
    let seed = tensor::<A, D>(shape, 2).require_grad();
    // The incoming gradient differs from element to element.
    let weight = tensor::<A, D>(shape, 3);
    let g: Vec<f64> = values(&weight).into_iter().map(f64::from).collect();
    let product = |left: &[f64], right: &[f64]| -> Vec<f64> { left.iter().zip(right).map(|(l, r)| l * r).collect() };
    let wide = |tensor: &Tensor<A, D>| -> Vec<f64> { values(tensor).into_iter().map(f64::from).collect() };
    let (of_host, of_seed) = (product(&reference.host, &wide(&host)), product(&reference.seed, &wide(&seed)));
    let want: Vec<f64> = of_host.iter().zip(of_seed).map(|(h, s)| h + s).collect();

    let out = barrier_blend(host.clone(), seed.clone(), config, alpha, Some(logits.clone())).unwrap();
    assert_close(&values(&out), &want);
    let grads = (out.clone() * weight.clone()).sum().backward();
    assert!(host.grad(&grads).is_none(), "{config:?}: the barrier let a gradient through");
    assert!(logits.grad(&grads).is_none());
    assert_close(&values(&seed.grad(&grads).unwrap()), &product(&reference.seed, &g));

    let committed = committed_blend(host.clone(), seed.clone(), config, alpha, Some(logits.clone())).unwrap();
    assert_eq!(bits(&committed), bits(&out));
    let grads = (committed * weight).sum().backward();
    assert!(logits.grad(&grads).is_none());
    assert_close(&values(&host.grad(&grads).unwrap()), &product(&reference.host, &g));
    assert_close(&values(&seed.grad(&grads).unwrap()), &product(&reference.seed, &g));

    let inner = barrier_blend(host.inner(), seed.inner(), config, alpha, Some(logits.clone().inner())).unwrap();
    assert_eq!(bits(&inner), bits(&out));
}

#[test]
fn tap_passes_value_and_gradient_and_stashes_the_gradient() {
    fn on<const D: usize>(shape: [usize; D], tracked: bool) {
        // -0.0 and NaN show that nothing was computed.
        let mut contents = noise(shape.iter().product(), 4);
        contents[0] = -0.0;
        contents[1] = f32::NAN;
        let host = Tensor::<A, D>::from_data(TensorData::new(contents, shape), &Default::default());
        let host = if tracked { host.require_grad() } else { host };
        let (weight, stash) = (tensor::<A, D>(shape, 6), Stash::new());
        let out = tap(host.clone(), Some(&stash));
        assert_eq!(bits(&out), bits(&host));
        assert!(stash.gradient::<D>().is_none());
        let grads = (out * weight.clone()).sum().backward();
        assert_eq!(host.grad(&grads).map(|grad| bits(&grad)), tracked.then(|| bits(&weight)));
        assert_eq!(bits(&stash.gradient::<D>().unwrap()), bits(&weight));
    }
    for tracked in [true, false] {
        on([3, 4], tracked);
        on([2, 3, 4], tracked);
        on([2, 3, 4, 5], tracked);
    }
}

#[test]
fn tap_whose_result_is_not_used_stashes_nothing() {
    let (host, stash) = (tensor::<A, 2>([3, 4], 1).require_grad(), Stash::new());
    let _ = tap(host.clone(), Some(&stash));
    let grads = host.clone().sum().backward();
    assert!(stash.gradient::<2>().is_none() && host.grad(&grads).is_some());
}

#[test]
fn tap_shares_the_host_memory() {
    let host = tensor::<A, 2>([8, 8], 1).require_grad();
    let address = |tensor: Tensor<A, 2>| tensor.inner().into_primitive().tensor().bytes().as_ptr();
    assert_eq!(address(tap(host.clone(), Some(&Stash::new()))), address(host));
}

/// Three uses of one tensor, one of them behind a tap: with f32 sums, the order in which they are added shows.
#[test]
fn graph_is_the_same_with_and_without_a_stash() {
    let run = |stash: Option<&Stash<A>>| {
        let x = tensor::<A, 2>([64, 64], 1).require_grad();
        let h = x.clone() * 3.0;
        let tapped = tap(h.clone(), stash).tanh().sin();
        let grads = (tapped + h.clone().sin() + (h * 0.1).exp().sin()).sum().backward();
        bits(&x.grad(&grads).unwrap())
    };
    assert_eq!(run(Some(&Stash::new())), run(None));
}

#[test]
fn pull_back_gives_the_seed_exactly_this_gradient() {
    let (x, weight) = (tensor::<A, 3>([2, 3, 4], 1), tensor::<A, 3>([1, 1, 4], 2).require_grad());
    let gradient = tensor::<A, 3>([2, 3, 4], 3);
    let scalar = pull_back(x.clone() * weight.clone(), gradient.clone());
    assert_eq!(scalar.dims(), [1]);
    let pulled = weight.grad(&scalar.backward()).unwrap();
    let product = (x.clone() * weight.clone() * gradient.clone()).sum();
    assert_eq!(bits(&pulled), bits(&weight.grad(&product.backward()).unwrap()));
    // A seed that nothing learns in has no gradient to get.
    pull_back(x, gradient).backward();
}

#[test]
fn host_gets_no_gradient_and_seed_learns() {
    // The host's weight reaches the loss only through the host side of the blend, which is not tracked.
    let weight = tensor::<A, 2>([3, 3], 1).require_grad();
    let x = tensor::<A, 2>([2, 3], 2);
    let host = x.clone().matmul(weight.clone());
    let seed_weight = tensor::<A, 2>([3, 3], 3).require_grad();
    let seed = host.clone().detach().matmul(seed_weight.clone());
    let out = barrier_blend(host, seed, &BlendConfig::convex(), Alpha::new(0.5).unwrap(), None).unwrap();
    let grads = out.sum().backward();
    assert!(weight.grad(&grads).is_none());
    assert!(seed_weight.grad(&grads).is_some());
}

#[test]
fn blend_without_parameters_is_not_tracked() {
    let (host, seed) = (tensor::<A, 2>([2, 3], 1), tensor::<A, 2>([2, 3], 2));
    let half = Alpha::new(0.5).unwrap();
    let convex = BlendConfig::convex();
    assert!(!barrier_blend(host.clone(), seed.clone(), &convex, half, None).unwrap().is_require_grad());
    let learning = tensor::<A, 2>([2, 3], 3).require_grad();
    let out = committed_blend(host, learning.clone(), &convex, half, None).unwrap();
    assert!(learning.grad(&out.sum().backward()).is_some());
    let frozen_seed = barrier_blend(learning.clone(), seed, &convex, half, None).unwrap();
    let grads = (frozen_seed + learning.clone()).sum().backward();
    assert_eq!(values(&learning.grad(&grads).unwrap()), [1.0; 6]);
}

#[test]
fn blend_at_alpha_0_and_1_is_exact() {
    let nan = Tensor::<A, 2>::full([2, 3], f32::NAN, &Default::default());
    let seed = tensor::<A, 2>([2, 3], 1);
    for config in [BlendConfig::convex(), BlendConfig::residual(), BlendConfig::channel(vec![1.0; 3]).unwrap()] {
        let out = barrier_blend(seed.clone(), nan.clone(), &config, Alpha::ZERO, None).unwrap();
        assert_eq!(bits(&out), bits(&seed), "{config:?}");
    }
    let out = barrier_blend(nan, seed.clone(), &BlendConfig::convex(), Alpha::ONE, None).unwrap();
    assert_eq!(bits(&out), bits(&seed));
}

#[test]
fn sample_without_a_margin_has_weight_lo() {
    let inf = f32::INFINITY;
    let logits = [
        [f32::NAN, 9.0, 0.0],
        [9.0, 0.0, f32::NAN],
        [inf, inf, 0.0],
        [-inf, -inf, -inf],
        [9.0, -inf, -inf],
        [inf, 0.0, 1.0],
        [9.0, 9.0, 0.0],
    ];
    let logits = Tensor::<A, 2>::from_floats(logits, &Default::default());
    let host = Tensor::<A, 2>::zeros([7, 1], &Default::default());
    let seed = Tensor::<A, 2>::ones([7, 1], &Default::default());
    let config = BlendConfig::confidence(1.0, 0.0, 0.125, 0.75).unwrap();
    let out = barrier_blend(host, seed, &config, Alpha::ONE, Some(logits)).unwrap();
    assert_eq!(values(&out), [0.125, 0.125, 0.125, 0.125, 0.75, 0.75, 0.5]);
}

#[test]
fn invalid_pairs_and_logits_are_errors() {
    let device = Default::default();
    let half = Alpha::new(0.5).unwrap();
    let t = |shape| tensor::<Flex, 2>(shape, 1);
    let with = |config: &BlendConfig, logits| barrier_blend(t([2, 3]), t([2, 3]), config, half, logits).unwrap_err();
    let confidence = BlendConfig::confidence(1.0, 0.0, 0.0, 1.0).unwrap();
    let single = tensor::<Flex, 1>([3], 1);
    let narrow = t([2, 3]).cast(burn::tensor::DType::F16);
    let errors = [
        (check_fit(&single, &single).unwrap_err(), "unsupported_rank"),
        (check_fit(&t([2, 3]), &t([3, 2])).unwrap_err(), "shape_mismatch"),
        (check_fit(&t([2, 3]), &narrow).unwrap_err(), "dtype_mismatch"),
        (with(&BlendConfig::channel(vec![0.5; 2]).unwrap(), None), "channel_mismatch"),
        (with(&confidence, None), "logits_missing"),
        (with(&confidence, Some(t([3, 3]))), "logits_batch_mismatch"),
        (with(&confidence, Some(t([2, 1]))), "logits_too_few_classes"),
    ];
    for (error, reason) in errors {
        assert_eq!(error.reason(), reason);
    }
    let error = with(&BlendConfig::channel(vec![0.5; 2]).unwrap(), None);
    assert_eq!(error, BlendError::ChannelMismatch { expected: 3, got: 2 });
    let shape = committed_blend(t([2, 3]), t([2, 4]), &BlendConfig::convex(), half, None).unwrap_err();
    assert_eq!(shape, BlendError::ShapeMismatch { expected: vec![2, 3], got: vec![2, 4] });
    let random = Tensor::<Flex, 2>::random([2, 2], Distribution::Default, &device);
    assert!(barrier_blend(random.clone(), random, &BlendConfig::convex(), half, None).is_ok());
}

#[test]
fn autodiff_flex_can_graft() {
    fn graft<B: GraftBackend>() -> String {
        fn inner<B: BlendBackend>() -> String {
            B::name(&Default::default())
        }
        inner::<B::InnerBackend>()
    }
    assert_eq!(graft::<A>(), Flex::name(&Default::default()));
}

/// The index along `axis` of each element in row-major order.
fn index_along(shape: &[usize], axis: usize) -> Vec<usize> {
    let inner: usize = shape[axis + 1..].iter().product();
    (0..shape.iter().product()).map(|element| element / inner % shape[axis]).collect()
}

#[track_caller]
fn assert_close(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= 2e-6 * want.abs().max(1.0), "[{index}] got {got}, want {want}");
    }
}
