//! The module as Burn sees it: ids, names, records, gradients, twins.

use std::collections::BTreeSet;

use crate::common::{artifact, manifest, numbers, verified, weights};
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module, list_param_ids};
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use burn::store::ModuleSnapshot;
use burn::tensor::{Tensor, TensorData, Tolerance};
use kasmina_kernel_load::{
    Activation, ArtifactLimits, Initialisation, KernelModule, LayerSpec, Manifest, SlotContract, initialise,
};

type Ad = Autodiff<Flex>;

#[test]
fn stored_tensors_have_the_manifests_names_and_the_same_bits() {
    for manifest in [everything_2(), everything_3(), everything_4()] {
        let weights = weights(&manifest, 3);
        let kernel = verified(&artifact(&manifest, 3)).build::<Ad>(&Default::default());
        let plan = manifest.tensors(&ArtifactLimits::default()).unwrap();
        let snapshots = kernel.collect(None, None, false);
        let named: Vec<_> = snapshots.iter().map(|s| (s.full_path(), s.shape.iter().copied().collect())).collect();
        let planned: Vec<_> = plan.iter().map(|spec| (spec.name.clone(), spec.shape.clone())).collect();
        assert_eq!(named, planned);
        for snapshot in &snapshots {
            let got: Vec<u32> = bits(&snapshot.to_data().unwrap());
            let expected: Vec<u32> = weights[&snapshot.full_path()].iter().map(|w| w.to_bits()).collect();
            assert_eq!(got, expected, "{}", snapshot.full_path());
        }
        assert_eq!(kernel.num_params() as u64, manifest.parameter_count);
    }
}

#[test]
fn two_builds_share_no_parameter_and_a_clone_shares_all() {
    let artifact = verified(&artifact(&everything_3(), 3));
    let (first, second) = (artifact.build::<Ad>(&Default::default()), artifact.build::<Ad>(&Default::default()));
    let ids = |kernel: &KernelModule<Ad>| list_param_ids(kernel).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(ids(&first).len(), everything_3().tensors(&ArtifactLimits::default()).unwrap().len());
    assert!(ids(&first).is_disjoint(&ids(&second)));
    assert_eq!(ids(&first), ids(&first.clone()));
}

#[test]
fn every_parameter_learns_and_a_frozen_kernel_has_no_gradients() {
    let manifest = everything_2();
    let kernel = verified(&artifact(&manifest, 3)).build::<Ad>(&Default::default());
    let gradients =
        GradientsParams::from_grads(kernel.forward(input_2()).unwrap().powi_scalar(2).sum().backward(), &kernel);
    assert_eq!(gradients.len(), list_param_ids(&kernel).len());

    let frozen = kernel.clone().no_grad();
    let tracked = input_2().require_grad();
    let loss = frozen.forward(tracked.clone()).unwrap().powi_scalar(2).sum().backward();
    assert!(tracked.grad(&loss).is_some(), "the input still has its gradient");
    assert_eq!(GradientsParams::from_grads(loss, &frozen).len(), 0);

    let before = values(&kernel.valid());
    let stepped = SgdConfig::new().init().step(0.1, kernel.clone(), gradients);
    assert_ne!(values(&stepped.valid()), before);
    assert_eq!(values(&kernel.valid()), before);
}

/// On Flex the twin runs Burn's fused norms, so the two agree to rounding, not to the bit.
#[test]
fn valid_copy_agrees_and_converts_back() {
    let kernel = verified(&artifact(&everything_2(), 3)).build::<Ad>(&Default::default());
    let expected = kernel.forward(input_2()).unwrap().to_data();
    let twin = kernel.valid();
    let got = twin.forward(input_2().inner()).unwrap().to_data();
    got.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    let back = KernelModule::<Ad>::from_inner(twin);
    assert_eq!(bits(&back.forward(input_2()).unwrap().to_data()), bits(&expected));
    assert_eq!(back.contract(), SlotContract::f32(2, 6, 6));
    assert!(format!("{kernel} {kernel:?}").contains("KernelModule"));
}

#[test]
fn records_go_through_nested_layers() {
    let manifest = everything_2();
    let (one, other) = (verified(&artifact(&manifest, 3)), verified(&artifact(&manifest, 4)));
    let (one, other) = (one.build::<Flex>(&Default::default()), other.build::<Flex>(&Default::default()));
    assert_ne!(values(&one), values(&other));
    let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
    let bytes = Recorder::<Flex>::record(&recorder, one.clone().into_record(), ()).unwrap();
    let record = Recorder::<Flex>::load(&recorder, bytes, &Default::default()).unwrap();
    assert_eq!(values(&other.load_record(record)), values(&one));
}

#[test]
fn zero_last_kernel_outputs_zero_and_still_learns() {
    let linear = |input, output| LayerSpec::linear(input, output);
    let kernels = [
        vec![linear(6, 4), LayerSpec::Activation(Activation::Gelu), linear(4, 6)],
        vec![LayerSpec::LowRank { channels_in: 6, channels_out: 6, rank: 2 }],
        vec![linear(6, 6), LayerSpec::LayerNorm { channels: 6 }],
        vec![
            linear(6, 6),
            LayerSpec::SqueezeExcite { channels: 6, hidden: 2 },
            LayerSpec::Activation(Activation::Silu),
        ],
    ];
    for layers in kernels {
        let manifest = manifest(SlotContract::f32(2, 6, 6), layers);
        let kernel = verified(&initialise(&manifest, &Initialisation { seed: 5, zero_last: true }).unwrap())
            .build::<Ad>(&Default::default());
        let y = kernel.forward(input_2()).unwrap();
        assert!(y.to_data().to_vec::<f32>().unwrap().iter().all(|&v| v == 0.0), "{manifest:?}");
        let gradients = GradientsParams::from_grads((y - 1.0).powi_scalar(2).sum().backward(), &kernel);
        let learned = SgdConfig::new().init().step(0.1, kernel.clone(), gradients);
        assert_ne!(values(&learned.valid()), values(&kernel.valid()), "{manifest:?}");
    }
    let layers =
        vec![LayerSpec::Residual { layers: vec![LayerSpec::Attention { channels: 6, heads: 2, causal: false }] }];
    let attention = manifest(SlotContract::f32(3, 6, 6), layers);
    let bytes = initialise(&attention, &Initialisation { seed: 5, zero_last: true }).unwrap();
    let x = Tensor::<Flex, 3>::from_data(TensorData::new(numbers(1, 36), [2, 3, 6]), &Default::default());
    let y = verified(&bytes).build::<Flex>(&Default::default()).forward(x.clone()).unwrap();
    assert_eq!(bits(&y.to_data()), bits(&x.to_data()), "a residual of zeros is the identity");
}

#[test]
fn initial_weights_depend_on_the_seed_alone_and_stay_bounded() {
    let manifest = everything_3();
    let start = |seed| initialise(&manifest, &Initialisation { seed, zero_last: false }).unwrap();
    assert_eq!(start(1), start(1));
    assert_ne!(start(1), start(2));
    let kernel = verified(&start(1)).build::<Flex>(&Default::default());
    let values = values(&kernel);
    assert!(values.iter().all(|value| value.abs() <= 1.0));
    let weights = values.iter().filter(|value| **value != 0.0 && **value != 1.0);
    assert!(weights.clone().any(|value| *value > 0.1) && weights.clone().any(|value| *value < -0.1));
}

fn everything_2() -> Manifest {
    let inner = vec![LayerSpec::linear(6, 6), LayerSpec::Activation(Activation::Silu)];
    let layers = vec![
        LayerSpec::LayerNorm { channels: 6 },
        LayerSpec::Residual { layers: vec![LayerSpec::linear(6, 6), LayerSpec::Residual { layers: inner }] },
        LayerSpec::SqueezeExcite { channels: 6, hidden: 3 },
        LayerSpec::Identity {},
        LayerSpec::LowRank { channels_in: 6, channels_out: 6, rank: 2 },
    ];
    manifest(SlotContract::f32(2, 6, 6), layers)
}

fn everything_3() -> Manifest {
    let layers = vec![LayerSpec::Attention { channels: 8, heads: 2, causal: false }, LayerSpec::linear(8, 4)];
    manifest(SlotContract::f32(3, 8, 4), layers)
}

fn everything_4() -> Manifest {
    let layers = vec![
        LayerSpec::Residual {
            layers: vec![LayerSpec::depthwise(4, 3), LayerSpec::GroupNorm { channels: 4, groups: 2 }],
        },
        LayerSpec::pointwise(4, 2),
    ];
    manifest(SlotContract::f32(4, 4, 2), layers)
}

fn input_2() -> Tensor<Ad, 2> {
    Tensor::from_data(TensorData::new(numbers(1, 60), [10, 6]), &Default::default())
}

fn bits(data: &TensorData) -> Vec<u32> {
    data.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn values(kernel: &KernelModule<Flex>) -> Vec<f32> {
    kernel.collect(None, None, false).iter().flat_map(|s| s.to_data().unwrap().to_vec::<f32>().unwrap()).collect()
}
