//! The cost of loading a kernel. None of it happens within a training step.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::hint::black_box;
use std::time::Duration;

use burn::backend::{Autodiff, Flex};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kasmina_kernel_load::doubles::{MemoryLibrary, sample_mlp};
use kasmina_kernel_load::{ArtifactLimits, Initialisation, KernelLoader, initialise, verify};
use kasmina_kernel_load::{Digests, Manifest};
use kasmina_leyline::{BlueprintId, Monotonic};

/// Channels of the small and the large kernel: 17 thousand and 1 million parameters.
const CHANNELS: [usize; 2] = [128, 1024];

fn handover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernel_handover");
    let manifest = manifest(1024);
    let library = MemoryLibrary::new();
    library.add(&manifest, &Initialisation::default()).unwrap();
    let mut loader = KernelLoader::new(library, 64 << 20, Duration::from_secs(3600));
    loader.load(&manifest.blueprint_id, Monotonic::ORIGIN).unwrap();
    group.bench_function("cached", |bencher| {
        bencher.iter(|| loader.load(black_box(&manifest.blueprint_id), Monotonic::ORIGIN).unwrap());
    });
    let artifact =
        loader.load(&manifest.blueprint_id, Monotonic::ORIGIN).unwrap().ready(&manifest.blueprint_id).unwrap();
    group.bench_function("build", |bencher| bencher.iter(|| artifact.build::<Autodiff<Flex>>(&Default::default())));
}

fn verification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernel_verify");
    let limits = ArtifactLimits::default();
    for channels in CHANNELS {
        let bytes = initialise(&manifest(channels), &Initialisation::default()).unwrap();
        let digests = Digests::of(&bytes, &limits).unwrap();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes.len()), |bencher| {
            bencher.iter(|| verify(black_box(&bytes), &digests, &limits).unwrap());
        });
    }
}

fn manifest(channels: usize) -> Manifest {
    sample_mlp(BlueprintId::new("bp-bench").unwrap(), channels).unwrap()
}

criterion_group!(benches, handover, verification);
criterion_main!(benches);
