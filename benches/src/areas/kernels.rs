//! Kernels: handed over from the cache, built, and verified. None of it happens within a training step.

use std::{hint::black_box, time::Duration};

use kasmina::{
    GraftBackend,
    kernel_load::{
        ArtifactLimits, Digests, Initialisation, KernelLoader, Manifest,
        doubles::{MemoryLibrary, sample_mlp},
        initialise, verify,
    },
    leyline::{BlueprintId, Monotonic},
};
use kasmina_measure::{Limit, Row, Side};
use sha2::{Digest, Sha256};

use crate::{case::Case, setting::Setting};

/// Channels of kernels of 17 thousand and of 1 million parameters.
const SIZES: [(usize, &str); 2] = [(128, "17k"), (1_024, "1m")];

pub(crate) fn cases<B: GraftBackend>(setting: &Setting<B>) -> Vec<Case> {
    let row = Row::new("kernel/cached", "hand over a cached kernel");
    let cached = Case::new(row.budget(Limit::AtMost(1_000.0)).aim(Limit::AtMost(100.0)), |meter| {
        let (mut loader, manifest) = loader();
        let name = &manifest.blueprint_id;
        meter.alone(Side::repeat(|| loader.load(black_box(name), Monotonic::ORIGIN).expect("cached")))
    });
    let setting = setting.clone();
    let build = Case::new(Row::new("kernel/build_1m", "build a kernel of 1M parameters"), move |meter| {
        let (mut loader, manifest) = loader();
        let loaded = loader.load(&manifest.blueprint_id, Monotonic::ORIGIN).expect("there");
        let artifact = loaded.ready(&manifest.blueprint_id).expect("there");
        meter.alone(Side::repeat(|| {
            let kernel = artifact.build::<B>(&setting.device);
            setting.sync();
            kernel
        }))
    });
    let mut cases = vec![cached, build];
    cases.extend(SIZES.map(verification));
    cases
}

fn verification((channels, name): (usize, &str)) -> Case {
    let row = Row::new(format!("kernel/verify_{name}"), format!("verify an artifact of {name} parameters"));
    let row = row.beside("one SHA-256 of its bytes").budget(Limit::RatioAtMost(3.0)).aim(Limit::RatioAtMost(2.0));
    Case::new(row, move |meter| {
        let limits = ArtifactLimits::default();
        let bytes = initialise(&manifest(channels), &Initialisation::default()).expect("a kernel");
        let digests = Digests::of(&bytes, &limits).expect("a kernel");
        let ours = Side::repeat(|| verify(black_box(&bytes), &digests, &limits).expect("authentic"));
        meter.pair(ours, Side::repeat(|| Sha256::digest(black_box(&bytes))))
    })
}

fn loader() -> (KernelLoader<MemoryLibrary>, Manifest) {
    let manifest = manifest(1_024);
    let library = MemoryLibrary::new();
    library.add(&manifest, &Initialisation::default()).expect("the manifest is valid");
    let mut loader = KernelLoader::new(library, 64 << 20, Duration::from_secs(3600));
    loader.load(&manifest.blueprint_id, Monotonic::ORIGIN).expect("there");
    (loader, manifest)
}

fn manifest(channels: usize) -> Manifest {
    sample_mlp(BlueprintId::new("bp-bench").expect("an id"), channels).expect("the layers chain")
}
