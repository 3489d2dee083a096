//! The cost of a blend, beside a copy of one buffer and the plain expression: 4M f32 as [64, 64, 32, 32] on Flex.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use std::hint::black_box;

use burn::backend::Flex;
use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kasmina_blending::{Alpha, BlendConfig, barrier_blend};

const SHAPE: [usize; 4] = [64, 64, 32, 32];

fn blend(criterion: &mut Criterion) {
    let device = Default::default();
    let tensor = || Tensor::<Flex, 4>::random(SHAPE, Distribution::Default, &device);
    let (host, seed) = (tensor(), tensor());
    let logits = Tensor::<Flex, 2>::random([SHAPE[0], 10], Distribution::Default, &device);
    let alpha = Alpha::new(0.3).unwrap();
    let elements = SHAPE.iter().product::<usize>() as u64;
    let mut group = criterion.benchmark_group("blend");
    group.throughput(Throughput::Elements(elements));

    let buffer = host.to_data().to_vec::<f32>().unwrap();
    group.bench_function("copy", |b| b.iter(|| black_box(&buffer).clone()));
    group.bench_function("plain", |b| {
        b.iter(|| host.clone() + (seed.clone() - host.clone()) * alpha.get());
    });
    let factors = (0..SHAPE[1]).map(|channel| channel as f32 / SHAPE[1] as f32).collect();
    for (name, config, logits) in [
        ("convex", BlendConfig::convex(), None),
        ("residual", BlendConfig::residual(), None),
        ("channel", BlendConfig::channel(factors).unwrap(), None),
        ("confidence", BlendConfig::confidence(4.0, 0.2, 0.0, 1.0).unwrap(), Some(logits)),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| barrier_blend(host.clone(), seed.clone(), &config, alpha, logits.clone()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, blend);
criterion_main!(benches);
