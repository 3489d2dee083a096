//! The single pass on Flex against the same expression in plain operations, bit for bit.

use crate::common::{bits, noise, tensor};
use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorData};
use kasmina_blending::{Alpha, BlendConfig, barrier_blend, channel_axis};

const ALPHA: f32 = 0.37;

/// Blends in every mode and compares; `gate` is what CONFIDENCE computes from `logits`.
fn compare<const D: usize>(host: &Tensor<Flex, D>, seed: &Tensor<Flex, D>) {
    let shape = host.dims();
    let (axis, alpha) = (channel_axis(D).unwrap(), Alpha::new(ALPHA).unwrap());
    let (h, s) = (|| host.clone(), || seed.clone());
    let blend = |config: &BlendConfig, logits| barrier_blend(h(), s(), config, alpha, logits).unwrap();
    let along = |axis: usize, weight: Vec<f32>| {
        let mut weight_shape = [1; D];
        weight_shape[axis] = weight.len();
        let weight = TensorData::new(weight, weight_shape).convert_dtype(host.dtype());
        let weight = Tensor::<Flex, D>::from_data(weight, (&host.device(), host.dtype()));
        h() * (-weight.clone() + 1.0) + s() * weight
    };
    let same = |got: Tensor<Flex, D>, want: Tensor<Flex, D>, mode: &str| {
        assert_eq!(got.dims(), shape);
        assert_eq!(got.dtype(), want.dtype());
        let (got, want) = (got.cast(DType::F32), want.cast(DType::F32));
        assert!(bits(&got) == bits(&want), "{mode} differs on {shape:?}");
    };

    same(blend(&BlendConfig::convex(), None), h() * (1.0 - ALPHA) + s() * ALPHA, "CONVEX");
    same(blend(&BlendConfig::residual(), None), h() + s() * ALPHA, "RESIDUAL");

    let factors: Vec<f32> = noise(shape[axis], 3).iter().map(|value| value.abs() / 2.0).collect();
    let weight = factors.iter().map(|factor| ALPHA * factor).collect();
    same(blend(&BlendConfig::channel(factors).unwrap(), None), along(axis, weight), "CHANNEL");

    // With k = 0 the gate is half open for every sample; weights differ only if a sample has a NaN and gets lo.
    let mut logits = noise(shape[0] * 3, 5);
    logits.iter_mut().step_by(9).for_each(|logit| *logit = f32::NAN);
    let weight = (0..shape[0]).map(|sample| if sample % 3 == 0 { 0.125 } else { ALPHA * 0.5 }).collect();
    let logits = Tensor::from_data(TensorData::new(logits, [shape[0], 3]), &host.device());
    let config = BlendConfig::confidence(0.0, 0.0, 0.125, 0.875).unwrap();
    same(blend(&config, Some(logits)), along(0, weight), "CONFIDENCE");
}

#[test]
fn sizes_around_block_and_thread_limits_match_plain_operations() {
    for size in [1, 2, 63, 64, 65, 511, 512, 513, 1_023, 1_024, 1_025, 5_003] {
        compare(&tensor([1, size], 1), &tensor([1, size], 2));
        compare(&tensor([size, 1], 1), &tensor([size, 1], 2));
    }
    for size in [524_287, 524_288, 524_289, 524_800, 600_011] {
        compare(&tensor([1, size], 1), &tensor([1, size], 2));
    }
    for shape in [[2, 3, 5], [7, 9, 11], [16, 64, 600], [3, 2_333, 77], [1, 1, 700_001], [2, 0, 8]] {
        compare(&tensor(shape, 1), &tensor(shape, 2));
    }
    for shape in [
        [2, 3, 1, 1],
        [2, 3, 7, 7],
        [9, 64, 32, 32],
        [5, 117, 31, 29],
        [600_011, 1, 1, 1],
        [3, 1, 5, 5],
        [0, 3, 4, 4],
        [2, 3, 0, 4],
    ] {
        compare(&tensor(shape, 1), &tensor(shape, 2));
    }
}

/// From 2^23 elements on, several threads share the work, in blocks and with a rest.
#[test]
fn blends_of_several_threads_have_the_bits_of_one() {
    const LIMIT: usize = 1 << 23;
    let alpha = Alpha::new(ALPHA).unwrap();
    for (elements, dtype) in [(LIMIT, DType::F32), (LIMIT + 513, DType::F32), (LIMIT + 7, DType::BF16)] {
        let given = |seed| tensor::<Flex, 2>([elements, 1], seed).cast(dtype);
        // Each of the rows is a sample: weights that change from one element to the next.
        let logits = || tensor::<Flex, 2>([elements, 2], 5);
        let gate = BlendConfig::confidence(4.0, 0.2, 0.1, 0.9).unwrap();
        for (config, logits) in [(BlendConfig::residual(), None), (gate, Some(logits()))] {
            let blend =
                |host, seed, logits| barrier_blend(host, seed, &config, alpha, logits).unwrap().cast(DType::F32);
            let whole = bits(&blend(given(1), given(2), logits.clone()));
            let (host, seed) = (given(1), given(2));
            assert!(bits(&blend(host.clone(), seed.clone(), logits.clone())) == whole, "{config:?} in fresh memory");
            let (half, rest) = (0..LIMIT / 2, LIMIT / 2..elements);
            let parts = [half, rest].map(|part| {
                let logits = logits.clone().map(|logits| logits.slice([part.clone(), 0..2]));
                bits(&blend(host.clone().slice([part.clone()]), seed.clone().slice([part]), logits))
            });
            assert!(parts.concat() == whole, "{config:?} of {elements} elements of {dtype:?}");
        }
    }
}

#[test]
fn views_match_plain_operations() {
    for size in [6, 40] {
        let shape = [size, size + 1, size, size];
        let (host, seed) = (tensor::<Flex, 4>(shape, 1), tensor::<Flex, 4>(shape, 2));
        compare(&host.clone().swap_dims(0, 2), &seed.clone().swap_dims(0, 2));
        compare(&host.clone().permute([0, 2, 3, 1]), &tensor([size, size, size, size + 1], 3));
        compare(&host.clone().slice([1..size, 2..size]), &seed.clone().slice([0..size - 1, 1..size - 1]));
        compare(&host.clone().narrow(0, 2, 3), &seed.clone().narrow(0, 1, 3));
        compare(&host.clone().flip([1]), &seed.clone().flip([3]));
        let row = tensor::<Flex, 4>([1, size + 1, 1, 1], 4);
        compare(&host, &row.expand(shape));
    }
    compare(&tensor::<Flex, 2>([7, 300], 1).transpose(), &tensor::<Flex, 2>([300, 7], 2));
    compare(&tensor::<Flex, 3>([7, 30, 50], 1).swap_dims(1, 2), &tensor::<Flex, 3>([7, 50, 30], 2));
}

#[test]
fn blend_leaves_its_inputs_unchanged() {
    let (host, seed) = (tensor::<Flex, 2>([300, 300], 1), tensor::<Flex, 2>([300, 300], 2));
    let (host_before, seed_before) = (bits(&host), bits(&seed));
    compare(&host, &seed);
    assert_eq!((bits(&host), bits(&seed)), (host_before, seed_before));
}

/// An input that nobody else holds is overwritten, which must give the bits of the blend that leaves both alone.
#[test]
fn blend_of_inputs_that_nobody_else_holds_has_the_same_bits() {
    fn check<const D: usize>(view: impl Fn(Tensor<Flex, D>) -> Tensor<Flex, D>, shape: [usize; D], dtype: DType) {
        let alpha = Alpha::new(ALPHA).unwrap();
        let given = |seed| view(tensor::<Flex, D>(shape, seed).cast(dtype));
        let channels = given(1).dims()[channel_axis(D).unwrap()];
        let channel = BlendConfig::channel(noise(channels, 3).iter().map(|it| it.abs() / 2.0).collect()).unwrap();
        for config in [BlendConfig::convex(), BlendConfig::residual(), channel] {
            let (host, seed) = (given(1), given(2));
            let kept = barrier_blend(host.clone(), seed.clone(), &config, alpha, None).unwrap().into_data();
            for (host, seed) in [(host.clone(), given(2)), (given(1), seed.clone()), (given(1), given(2))] {
                let got = barrier_blend(host, seed, &config, alpha, None).unwrap();
                assert_eq!(got.dims(), given(1).dims());
                assert_eq!(got.into_data(), kept, "{config:?} on {shape:?} of {dtype:?}");
            }
            assert_eq!(host.into_data(), given(1).into_data(), "the host that was held");
            assert_eq!(seed.into_data(), given(2).into_data(), "the seed that was held");
        }
    }
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        check(|it| it, [3, 50, 4, 5], dtype);
        check(|it| it, [1, 512, 5, 2], dtype);
        check(|it| it.permute([0, 2, 3, 1]), [3, 5, 6, 7], dtype);
        check(|it| it.narrow(0, 1, 2), [4, 5, 6, 7], dtype);
        check(|it| it.swap_dims(1, 2).narrow(0, 1, 1), [4, 5, 6], dtype);
        check(|it| it.flip([1]), [4, 5], dtype);
    }
    for size in [524_287, 524_288, 540_673] {
        check(|it| it, [1, size], DType::F32);
    }
}

#[test]
fn input_that_nobody_else_holds_gives_its_memory() {
    let alpha = Alpha::new(ALPHA).unwrap();
    let place = |it: &Tensor<Flex, 2>| it.clone().into_primitive().tensor().bytes().as_ptr();
    let (host, seed) = (tensor::<Flex, 2>([30, 70], 1), tensor::<Flex, 2>([30, 70], 2));
    let (held, given) = (host.clone(), place(&seed));
    let out = barrier_blend(host, seed, &BlendConfig::residual(), alpha, None).unwrap();
    assert_eq!(place(&out), given, "the seed's");
    let seed = tensor::<Flex, 2>([30, 70], 2);
    let (held_too, given) = (seed.clone(), place(&held));
    let out = barrier_blend(held, seed, &BlendConfig::residual(), alpha, None).unwrap();
    assert_eq!(place(&out), given, "the host's");
    assert_ne!(place(&held_too), given);
}

/// `a h + b s` in f32, rounded once.
#[test]
fn sixteen_bits_are_rounded_once() {
    let alpha = Alpha::new(ALPHA).unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let [host, seed] = [1, 2].map(|number| tensor::<Flex, 2>([40, 33], number).cast(dtype));
        let got = barrier_blend(host.clone(), seed.clone(), &BlendConfig::convex(), alpha, None).unwrap();
        let want = host.cast(DType::F32) * (1.0 - ALPHA) + seed.cast(DType::F32) * ALPHA;
        assert_eq!(got.into_data(), want.cast(dtype).into_data());
    }
}

#[test]
fn other_element_types_match_plain_operations() {
    let (host, seed) = (tensor::<Flex, 4>([2, 3, 4, 5], 1), tensor::<Flex, 4>([2, 3, 4, 5], 2));
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        let (host, seed) = (host.clone().cast(dtype), seed.clone().cast(dtype));
        let (convex, half) = (BlendConfig::convex(), Alpha::new(0.5).unwrap());
        let out = barrier_blend(host.clone(), seed.clone(), &convex, half, None).unwrap();
        assert_eq!(out.dtype(), dtype);
        let want = host.clone() * 0.5 + seed.clone() * 0.5;
        assert_eq!(out.to_data(), want.to_data());
        let channel = BlendConfig::channel(vec![0.5; 3]).unwrap();
        let out = barrier_blend(host.clone(), seed.clone(), &channel, Alpha::ONE, None).unwrap();
        assert_eq!(out.to_data(), want.to_data());
        let confidence = BlendConfig::confidence(0.0, 0.0, 0.0, 1.0).unwrap();
        let logits = tensor::<Flex, 2>([2, 3], 3);
        let out = barrier_blend(host, seed, &confidence, Alpha::ONE, Some(logits)).unwrap();
        assert_eq!(out.to_data(), want.to_data());
    }
}
