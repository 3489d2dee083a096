//! One guarded operation: ask, then record. Budget 10 us, aim 50 ns.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kasmina_leyline::Monotonic;
use kasmina_safety::Breaker;

fn allow_and_record(criterion: &mut Criterion) {
    let mut breaker = Breaker::default();
    let mut now = 0;
    criterion.bench_function("breaker/allow_and_record", |bencher| {
        bencher.iter(|| {
            now += 1;
            let now = Monotonic::from_nanos(black_box(now));
            let admitted = breaker.allow(now);
            (admitted, breaker.record_success(now))
        });
    });
}

criterion_group!(benches, allow_and_record);
criterion_main!(benches);
