//! The reference packet: three training metrics of one seed, assembled and encoded. Budget 80 us, aim 1 us.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kasmina_leyline::{SeedId, TrainingRunId, UnixTime};
use kasmina_telemetry::{Assembler, Metric, names};
use prost::Message;

fn reference(criterion: &mut Criterion) {
    let seed = SeedId::new("seed-1").expect("an id");
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").expect("an id"), 64);
    let mut bytes = Vec::new();
    criterion.bench_function("packet/reference", |bencher| {
        bencher.iter(|| {
            for (name, value) in [(names::SEED_LOSS, 0.5), (names::SEED_ALPHA, 0.25), (names::SEED_GRADIENT_NORM, 0.01)]
            {
                assembler.metric(Some(&seed), Metric::new(name, black_box(value)));
            }
            bytes.clear();
            for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
                packet.encode(&mut bytes).expect("a Vec has room");
            }
            bytes.len()
        });
    });
}

criterion_group!(benches, reference);
criterion_main!(benches);
