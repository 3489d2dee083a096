//! Helpers: weights that are neither zero nor one, and files that are taken apart and put together again.

use std::collections::BTreeMap;

use kasmina_kernel_load::{
    ArtifactLimits, Digests, LayerSpec, Manifest, SlotContract, VerifiedArtifact, verify, write_artifact,
};
use kasmina_leyline::BlueprintId;
use serde_json::Value;

pub(crate) type Weights = BTreeMap<String, Vec<f32>>;

pub(crate) fn blueprint(name: &str) -> BlueprintId {
    BlueprintId::new(name).unwrap()
}

pub(crate) fn manifest(contract: SlotContract, layers: Vec<LayerSpec>) -> Manifest {
    Manifest::new(blueprint("bp-test"), contract, layers).unwrap()
}

/// Numbers in [-1, 1) of a linear congruential generator (Knuth's MMIX).
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(step).take(count).collect()
}

pub(crate) fn weights(manifest: &Manifest, seed: u64) -> Weights {
    let specs = manifest.tensors(&ArtifactLimits::default()).unwrap().into_iter().enumerate();
    specs.map(|(index, spec)| (spec.name, numbers(seed + index as u64, spec.shape.iter().product()))).collect()
}

pub(crate) fn artifact(manifest: &Manifest, seed: u64) -> Vec<u8> {
    write_artifact(manifest, &weights(manifest, seed)).unwrap()
}

pub(crate) fn digests(bytes: &[u8]) -> Digests {
    Digests::of(bytes, &ArtifactLimits::default()).unwrap()
}

pub(crate) fn verified(bytes: &[u8]) -> VerifiedArtifact {
    verify(bytes, &digests(bytes), &ArtifactLimits::default()).unwrap()
}

/// The header as JSON, and the data.
pub(crate) fn take_apart(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

pub(crate) fn put_together(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}
