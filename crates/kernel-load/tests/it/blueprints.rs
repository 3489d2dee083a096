//! The built-in blueprints on every slot that they fit.

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use kasmina_kernel_load::blueprints::{Blueprint, BuiltInLibrary, Start};
use kasmina_kernel_load::{
    ArtifactLimits, KernelDtype, KernelLibrary, KernelModule, LibraryError, SlotActivation, SlotContract,
    VerifiedArtifact, verify,
};
use kasmina_leyline::BlueprintId;
use proptest::prelude::*;

use crate::common::numbers;

type Train = Autodiff<Flex>;

fn artifact(blueprint: Blueprint, slot: SlotContract, start: Start) -> VerifiedArtifact {
    let manifest = blueprint.for_slot(slot, start).unwrap();
    let fetched = BuiltInLibrary::new(7).fetch(&manifest.blueprint_id).unwrap().here().unwrap();
    let verified = verify(&fetched.bytes, &fetched.digests, &ArtifactLimits::default()).unwrap();
    assert_eq!(verified.manifest(), &manifest);
    verified
}

fn input<const D: usize>(channels: usize) -> TensorData {
    let shape: [usize; D] = std::array::from_fn(|axis| match (axis, D) {
        (0, _) => 2,
        (1, 2 | 4) | (2, 3) => channels,
        _ => 5,
    });
    TensorData::new(numbers(3, shape.iter().product()), shape)
}

#[test]
fn blueprint_fits_its_ranks_and_no_others() {
    for blueprint in Blueprint::ALL {
        for rank in 0..6 {
            let fitted = blueprint.for_slot(SlotContract::f32(rank, 8, 8), Start::Identity);
            assert_eq!(fitted.is_ok(), blueprint.ranks().contains(&rank), "{blueprint} on rank {rank}");
            assert_eq!(fitted.err().map_or("blueprint_rank", |error| error.reason()), "blueprint_rank");
        }
    }
    let on = |rank| Blueprint::fitting(SlotContract::f32(rank, 8, 8), Start::Zero).map(|(it, _)| it.name()).collect();
    let common = ["norm", "bottleneck", "mlp", "low-rank"];
    let names: [Vec<_>; 3] = [on(2), on(3), on(4)];
    assert_eq!(names[0], [&common[..], &["squeeze-excite"]].concat());
    assert_eq!(names[1], [&common[..], &["squeeze-excite", "attention", "causal-attention"]].concat());
    assert_eq!(names[2], [&common[..], &["depthwise-separable", "squeeze-excite", "conv-residual"]].concat());
}

#[test]
fn parameter_counts_are_those_of_the_table() {
    let counts: [fn(u64) -> u64; 9] = [
        |c| 2 * c,
        |c| c * c / 2 + 5 * c / 4,
        |c| 8 * c * c + 7 * c,
        |c| 16 * c,
        |c| c * c + 13 * c,
        |c| c * c / 2 + 9 * c / 4,
        |c| 18 * c * c + 4 * c,
        |c| 4 * c * c + 6 * c,
        |c| 4 * c * c + 6 * c,
    ];
    for (blueprint, count) in Blueprint::ALL.into_iter().zip(counts) {
        for &rank in blueprint.ranks() {
            let slot = SlotContract::f32(rank, 64, 64);
            let manifest = blueprint.for_slot(slot, Start::Identity).unwrap();
            assert_eq!(manifest.parameter_count, count(64), "{blueprint}");
            let kernel = artifact(blueprint, slot, Start::Identity).build::<Flex>(&Default::default());
            assert_eq!(kernel.num_params() as u64, count(64), "{blueprint}");
            let description = blueprint.descriptor(slot, Start::Identity).unwrap().description;
            assert_eq!(description, format!("{} parameters; at first it returns its input", count(64)));
        }
    }
}

#[test]
fn new_kernel_returns_its_input_or_zeros() {
    fn check<const D: usize>() {
        for channels in [1, 3, 8, 64] {
            for (blueprint, start) in
                Blueprint::ALL.into_iter().flat_map(|it| [(it, Start::Identity), (it, Start::Zero)])
            {
                if !blueprint.ranks().contains(&D) {
                    continue;
                }
                let kernel = artifact(blueprint, SlotContract::f32(D, channels, channels), start);
                let x = Tensor::<Flex, D>::from_data(input::<D>(channels), &Default::default());
                let y = kernel.build::<Flex>(&Default::default()).forward(x.clone()).unwrap();
                let expected = if start == Start::Identity { x } else { x.zeros_like() };
                let numbers = |tensor: Tensor<Flex, D>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
                assert_eq!(numbers(y), numbers(expected), "{blueprint} {start:?} on rank {D}, {channels} channels");
            }
        }
    }
    check::<2>();
    check::<3>();
    check::<4>();
}

#[test]
fn kernel_with_other_channels_out_starts_at_zero() {
    for blueprint in Blueprint::ALL {
        let rank = blueprint.ranks()[0];
        let slot = SlotContract::f32(rank, 6, 4);
        assert_eq!(blueprint.for_slot(slot, Start::Identity).unwrap_err().reason(), "blueprint_identity");
        let kernel = artifact(blueprint, slot, Start::Zero).build::<Flex>(&Default::default());
        assert_eq!(kernel.contract().channels_out, 4);
        let sum = |y: Vec<f32>| y.iter().map(|y| y.abs()).sum::<f32>();
        let y: Vec<f32> = match rank {
            2 => kernel.forward(Tensor::<_, 2>::from_data(input::<2>(6), &Default::default())).unwrap().into_data(),
            3 => kernel.forward(Tensor::<_, 3>::from_data(input::<3>(6), &Default::default())).unwrap().into_data(),
            _ => kernel.forward(Tensor::<_, 4>::from_data(input::<4>(6), &Default::default())).unwrap().into_data(),
        }
        .iter()
        .collect();
        assert!(!y.is_empty() && sum(y) == 0.0, "{blueprint}");
    }
}

#[test]
fn every_parameter_learns_from_the_second_step_on() {
    fn check<const D: usize>() {
        for (blueprint, _) in Blueprint::fitting(SlotContract::f32(D, 8, 8), Start::Identity) {
            let mut kernel =
                artifact(blueprint, SlotContract::f32(D, 8, 8), Start::Identity).build::<Train>(&Default::default());
            let mut optimizer = SgdConfig::new().init();
            for step in 0..3 {
                let x = Tensor::<Train, D>::from_data(input::<D>(8), &Default::default());
                let y = kernel.forward(x.clone()).unwrap();
                let loss = (y - x.sin() * 2.0 + 0.5).square().mean();
                let gradients = GradientsParams::from_grads(loss.backward(), &kernel);
                let mut still = Still { path: Vec::new(), gradients: &gradients, still: Vec::new(), all: 0 };
                kernel.visit(&mut still);
                if step == 0 {
                    assert!(still.still.len() < still.all, "{blueprint}: nothing learns at first");
                } else {
                    // The same number on every score of a row changes no attention.
                    still.still.retain(|name| !name.ends_with("key.bias"));
                    assert_eq!(still.still, Vec::<String>::new(), "{blueprint} on rank {D}, step {step}");
                }
                kernel = Optimizer::<KernelModule<Train>, Train>::step(&mut optimizer, 0.5, kernel, gradients);
            }
        }
    }
    check::<2>();
    check::<3>();
    check::<4>();
}

/// The parameters without a gradient, or with one that is zero.
struct Still<'a> {
    path: Vec<String>,
    gradients: &'a GradientsParams,
    still: Vec<String>,
    all: usize,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Still<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.all += 1;
        let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
        if gradient.is_none_or(|gradient| gradient.abs().max().into_data().iter::<f32>().all(|largest| largest == 0.0))
        {
            self.still.push(self.path.join("."));
        }
    }
}

#[test]
fn ids_in_another_spelling_are_unknown() {
    let library = BuiltInLibrary::default();
    for id in [
        "bottleneck-r2-c064",
        "bottleneck-r2-c64-64",
        "bottleneck-r2-c+64",
        "bottleneck-r5-c4",
        "bottleneck-r2-c0",
        "bottleneck-r2-c64-32",
        "bottleneck-r2-c64-zero-zero",
        "bottleneck-r2-c64-f32",
        "bottleneck-r2-c64-zero-bf16",
        "bottleneck-r2-c64-w1",
        "bottleneck-r2-c64-w02",
        "bottleneck-r2-c64-w2-zero",
        "bottleneck-r2-c64-w4294967296",
        "bottleneck",
        "mlp-r2-c65536",
        "mlp-r2-c18446744073709551615",
        "bp-1",
    ] {
        let id = BlueprintId::new(id).unwrap();
        let unknown = LibraryError::UnknownBlueprint { blueprint: id.clone() };
        assert_eq!((library.descriptor(&id), library.fetch(&id)), (Err(unknown.clone()), Err(unknown)));
    }
}

#[test]
fn weights_depend_on_seed_and_id_alone() {
    let fetch =
        |seed, id: &str| BuiltInLibrary::new(seed).fetch(&BlueprintId::new(id).unwrap()).unwrap().here().unwrap().bytes;
    let data = |bytes: Vec<u8>| bytes[8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize..].to_vec();
    assert_eq!(fetch(1, "mlp-r2-c8"), fetch(1, "mlp-r2-c8"));
    assert_ne!(fetch(1, "mlp-r2-c8"), fetch(2, "mlp-r2-c8"));
    assert_ne!(data(fetch(1, "mlp-r2-c8")), data(fetch(1, "mlp-r3-c8")));
    assert_ne!(data(fetch(1, "mlp-r2-c8-w2")), data(fetch(1, "mlp-r2-c8")));
    assert_ne!(data(fetch(1, "mlp-r2-c8-w2")), data(fetch(1, "mlp-r2-c8-w3")));
}

#[test]
fn slots_of_other_element_types_have_no_contract() {
    let slot = |dtype| SlotActivation { rank: 3, channels_in: 8, channels_out: 4, dtype };
    assert_eq!(slot(burn::tensor::DType::F32).contract(), Some(SlotContract::f32(3, 8, 4)));
    assert_eq!(
        slot(burn::tensor::DType::BF16).contract(),
        Some(SlotContract::f32(3, 8, 4).with_dtype(KernelDtype::Bf16))
    );
    assert_eq!(slot(burn::tensor::DType::F64).contract(), None);
}

proptest! {
    #[test]
    fn every_id_that_is_given_is_known(
        blueprint in prop::sample::select(Blueprint::ALL.to_vec()),
        rank in 2..5_usize,
        channels_in in 1..200_usize,
        channels_out in 1..200_usize,
        dtype in prop::sample::select(KernelDtype::ALL.to_vec()),
        zero: bool,
        draw in 0..4_u32,
    ) {
        let start = if zero { Start::Zero } else { Start::Identity };
        let slot = SlotContract::f32(rank, channels_in, if zero { channels_out } else { channels_in }).with_dtype(dtype);
        let Ok(manifest) = blueprint.drawn(slot, start, draw) else {
            prop_assert!(!blueprint.ranks().contains(&rank));
            return Ok(());
        };
        let descriptor = BuiltInLibrary::default().descriptor(&manifest.blueprint_id).unwrap();
        prop_assert_eq!(descriptor.blueprint_id, manifest.blueprint_id.as_str());
        prop_assert_eq!(descriptor.name, blueprint.name());
        prop_assert!(descriptor.risk > 0.0 && descriptor.risk < 0.5);
    }
}
