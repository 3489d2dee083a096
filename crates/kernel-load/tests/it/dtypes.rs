//! Kernels of 16-bit floats.

use burn::backend::{Autodiff, Flex};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::{DType, Tensor, TensorData};
use kasmina_kernel_load::blueprints::{Blueprint, BuiltInLibrary, Start};
use kasmina_kernel_load::{
    ArtifactError, ArtifactLimits, KernelDtype, KernelLibrary, KernelModule, LayerSpec, Manifest, ShapeError,
    SlotContract, VerifiedArtifact, verify, write_artifact,
};

use crate::common::{blueprint, digests, numbers, verified, weights};

type Train = Autodiff<Flex>;

fn manifest(dtype: KernelDtype) -> Manifest {
    let contract = SlotContract::f32(2, 4, 4).with_dtype(dtype);
    Manifest::new(blueprint("bp-half"), contract, vec![LayerSpec::linear(4, 4)]).unwrap()
}

fn fetched(dtype: KernelDtype, rank: usize, design: Blueprint) -> VerifiedArtifact {
    let slot = SlotContract::f32(rank, 8, 8).with_dtype(dtype);
    let id = design.for_slot(slot, Start::Identity).unwrap().blueprint_id;
    let artifact = BuiltInLibrary::new(3).fetch(&id).unwrap().here().unwrap();
    verify(&artifact.bytes, &artifact.digests, &ArtifactLimits::default()).unwrap()
}

fn input<const D: usize>(shape: [usize; D], dtype: DType) -> Tensor<Train, D> {
    let data = TensorData::new(numbers(5, shape.iter().product()), shape);
    Tensor::from_data(data, (&Default::default(), dtype))
}

#[test]
fn weights_are_rounded_to_the_type_of_the_contract() {
    for dtype in KernelDtype::ALL {
        let manifest = manifest(dtype);
        let weights = weights(&manifest, 1);
        let bytes = write_artifact(&manifest, &weights).unwrap();
        let data = bytes.len() - 8 - u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(data, 20 * dtype.width());
        let mut bias = Vec::new();
        verified(&bytes)
            .build::<Flex>(&Default::default())
            .forward(input([1, 4], dtype.dtype()).inner() * 0.0)
            .unwrap()
            .into_data()
            .iter::<f32>()
            .for_each(|number| bias.push(number));
        let expected: Vec<f32> =
            TensorData::new(weights["layers.0.Linear.bias"].clone(), [4]).convert_dtype(dtype.dtype()).iter().collect();
        assert_eq!(bias, expected, "{dtype:?}");
    }
}

#[test]
fn weight_that_is_too_large_for_the_type_is_refused() {
    let manifest = manifest(KernelDtype::F16);
    let mut weights = weights(&manifest, 1);
    weights.get_mut("layers.0.Linear.bias").unwrap()[2] = 1e5;
    let expected = ArtifactError::NonFinite { name: "layers.0.Linear.bias".into(), index: 2, got: 1e5 };
    assert_eq!(write_artifact(&manifest, &weights).unwrap_err(), expected);
}

#[test]
fn infinity_in_16_bits_is_refused() {
    for (dtype, infinity) in [(KernelDtype::F16, 0x7c00_u16), (KernelDtype::Bf16, 0x7f80)] {
        let manifest = manifest(dtype);
        let mut bytes = write_artifact(&manifest, &weights(&manifest, 1)).unwrap();
        let last = bytes.len() - 2;
        bytes[last..].copy_from_slice(&infinity.to_le_bytes());
        let error = verify(&bytes, &digests(&bytes), &ArtifactLimits::default()).unwrap_err();
        assert_eq!(error.reason(), "non_finite_weight", "{dtype:?}");
    }
}

#[test]
fn every_blueprint_runs_and_learns_in_16_bits() {
    fn check<const D: usize>(shape: [usize; D]) {
        for dtype in [KernelDtype::Bf16, KernelDtype::F16] {
            for design in Blueprint::ALL.into_iter().filter(|design| design.ranks().contains(&D)) {
                let mut kernel = fetched(dtype, D, design).build::<Train>(&Default::default());
                let mut optimizer = AdamWConfig::new().with_epsilon(1e-3).init();
                let x = input(shape, dtype.dtype());
                let loss = |kernel: &KernelModule<Train>| {
                    (kernel.forward(x.clone()).unwrap() - x.clone() * 0.5).square().mean()
                };
                let first = loss(&kernel).into_data().iter::<f32>().next().unwrap();
                for _ in 0..5 {
                    let gradients = GradientsParams::from_grads(loss(&kernel).backward(), &kernel);
                    kernel = Optimizer::<KernelModule<Train>, Train>::step(&mut optimizer, 1e-2, kernel, gradients);
                }
                let y = kernel.forward(x.clone()).unwrap();
                assert_eq!(y.dtype(), dtype.dtype(), "{design}");
                let last = loss(&kernel).into_data().iter::<f32>().next().unwrap();
                assert!(last < first, "{design} in {dtype:?}: {first} to {last}");
            }
        }
    }
    check([16, 8]);
    check([2, 6, 8]);
    check([2, 8, 5, 5]);
}

#[test]
fn kernel_takes_its_own_type_only() {
    let kernel = fetched(KernelDtype::Bf16, 2, Blueprint::Bottleneck).build::<Train>(&Default::default());
    let error = kernel.forward(input([2, 8], DType::F32)).unwrap_err();
    assert_eq!(error, ShapeError::Dtype { expected: "BF16", got: "F32".into() });
}
