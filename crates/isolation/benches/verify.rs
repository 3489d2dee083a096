//! The ledger of a pass over a host of 20 layers with a seed of 4: 48 parameters. Budget 8 ms.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use burn::{
    backend::{Autodiff, Flex},
    nn::{Linear, LinearConfig},
    tensor::{Distribution, Tensor},
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use kasmina_isolation::GradientLedger;

type B = Autodiff<Flex>;

fn layers(count: usize) -> Vec<Linear<B>> {
    (0..count).map(|_| LinearConfig::new(64, 64).init(&Default::default())).collect()
}

fn verify(criterion: &mut Criterion) {
    let (host, kernel) = (layers(20), layers(4));
    let x = Tensor::<B, 2>::random([32, 64], Distribution::Default, &Default::default());
    let backward = || {
        let forward = |x: Tensor<B, 2>, layer: &Linear<B>| layer.forward(x);
        let out = host.iter().chain(&kernel).fold(x.clone(), forward);
        GradientLedger::<B>::new(out.mean().backward())
    };
    criterion.bench_function("isolation/verify", |bencher| {
        bencher.iter_batched_ref(
            backward,
            |ledger| {
                let seed = ledger.take_apart_from(&kernel, &host).expect("nothing is shared");
                (seed, ledger.take(&host).expect("nothing is shared"))
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, verify);
criterion_main!(benches);
