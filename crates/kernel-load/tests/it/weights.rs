//! Modules and optimizers as bytes, and kernels restored without an artifact.

use burn::backend::{Autodiff, Flex};
use burn::module::list_param_ids;
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::Tensor;
use kasmina_kernel_load::weights::{
    WeightsError, module_from_bytes, module_to_bytes, optimizer_from_bytes, optimizer_to_bytes,
};
use kasmina_kernel_load::{
    ArtifactLimits, KernelModule, Manifest, ManifestError,
    doubles::{sample_attention, sample_conv, sample_mlp},
};

use crate::common::{artifact, blueprint, verified};

type B = Autodiff<Flex>;

fn blank(manifest: &Manifest) -> KernelModule<B> {
    KernelModule::blank(manifest, &ArtifactLimits::default(), &Default::default()).unwrap()
}

#[test]
fn blank_kernel_takes_stored_weights_and_ids_bit_for_bit() {
    let id = blueprint("bp-weights");
    for manifest in [sample_mlp(id.clone(), 8), sample_attention(id.clone(), 8), sample_conv(id, 8)] {
        let manifest = manifest.unwrap();
        let kernel = verified(&artifact(&manifest, 5)).build::<B>(&Default::default());
        let bytes = module_to_bytes(&kernel).unwrap();
        let restored = module_from_bytes(blank(&manifest), &bytes, "a kernel", &Default::default()).unwrap();
        assert_eq!(list_param_ids(&restored), list_param_ids(&kernel));
        assert_eq!(module_to_bytes(&restored).unwrap(), bytes);
        assert_eq!(restored.contract(), kernel.contract());
    }
}

#[test]
fn restored_optimizer_takes_the_step_that_it_would_have_taken() {
    let manifest = sample_mlp(blueprint("bp-weights"), 4).unwrap();
    let step = |kernel: KernelModule<B>, optimizer: &mut _| {
        let loss = kernel.forward(Tensor::<B, 2>::ones([3, 4], &Default::default())).unwrap().square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &kernel);
        Optimizer::<KernelModule<B>, B>::step(optimizer, 1e-2, kernel, gradients)
    };
    let mut optimizer = AdamWConfig::new().init::<B, KernelModule<B>>();
    let kernel = step(verified(&artifact(&manifest, 5)).build::<B>(&Default::default()), &mut optimizer);
    let bytes = module_to_bytes(&kernel).unwrap();
    let state = optimizer_to_bytes::<B, KernelModule<B>, _>(&optimizer).unwrap();

    let restored = module_from_bytes(blank(&manifest), &bytes, "a kernel", &Default::default()).unwrap();
    let fresh = AdamWConfig::new().init::<B, KernelModule<B>>();
    let mut again =
        optimizer_from_bytes::<B, KernelModule<B>, _>(fresh, state, "its optimizer", &Default::default()).unwrap();
    let expected = module_to_bytes(&step(kernel, &mut optimizer)).unwrap();
    assert_eq!(module_to_bytes(&step(restored, &mut again)).unwrap(), expected);
}

#[test]
fn foreign_bytes_and_other_kernels_are_refused_by_name() {
    let small = sample_mlp(blueprint("bp-weights"), 4).unwrap();
    let other = sample_mlp(blueprint("bp-weights"), 8).unwrap();
    let bytes = module_to_bytes(&blank(&small)).unwrap();
    let read = |bytes: &[u8]| module_from_bytes(blank(&other), bytes, "a kernel", &Default::default()).map(|_| ());
    let mismatch = read(&bytes).unwrap_err();
    assert_eq!(mismatch.reason(), "weights_mismatch");
    assert!(mismatch.to_string().starts_with("a kernel: the module has "), "{mismatch}");
    assert_eq!(read(&bytes[..20]).unwrap_err().reason(), "weights_malformed");
    assert!(matches!(read(b""), Err(WeightsError::Malformed { what: "a kernel", .. })));
}

#[test]
fn blank_kernel_of_an_invalid_manifest_is_refused() {
    let mut manifest = sample_mlp(blueprint("bp-weights"), 4).unwrap();
    manifest.parameter_count += 1;
    let refused = KernelModule::<B>::blank(&manifest, &ArtifactLimits::default(), &Default::default()).map(|_| ());
    assert!(matches!(refused, Err(ManifestError::ParameterCount { .. })), "{refused:?}");
}
