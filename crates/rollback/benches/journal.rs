//! Journal and blobs on the disk of `CARGO_TARGET_TMPDIR`. Records hold 128 bytes.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    fs::File,
    hint::black_box,
    io::Write,
    ops::ControlFlow,
    path::Path,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kasmina_leyline::CommandId;
use kasmina_rollback::{Blobs, Entry, Journal, Store};
use tempfile::TempDir;

/// 10 million parameters in f32.
const TEN_MILLION: usize = 40_000_000;

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(50).measurement_time(Duration::from_secs(4));
    for records in [1, 16, 256] {
        let (directory, mut store) = open();
        let batch = entries(records);
        let journal = directory.path().join("journal");
        let before = length(&journal);
        store.journal.append(&batch).expect("appended");
        let bytes = vec![7; (length(&journal) - before) as usize];
        let mut raw = File::create(directory.path().join("journal.raw")).expect("a file");
        // Interleaved, in turns, so that both meet the same disk: an append, and a synced write of as many bytes to a plain
        // file. Each row reports one of them.
        let mut pair = |turn: u64| {
            let mut took = [Duration::ZERO; 2];
            for which in [turn % 2, (turn + 1) % 2] {
                let started = Instant::now();
                if which == 0 {
                    store.journal.append(black_box(&batch)).expect("appended");
                } else {
                    raw.write_all(black_box(&bytes)).and_then(|()| raw.sync_data()).expect("synced");
                }
                took[which as usize] = started.elapsed();
            }
            took
        };
        group.throughput(Throughput::Elements(records as u64));
        let mut totals = [Duration::ZERO; 2];
        for (which, name) in [(0, "append"), (1, "append_raw")] {
            group.bench_function(format!("{name}_{records}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut sum = Duration::ZERO;
                    for turn in 0..iterations {
                        let took = pair(turn);
                        sum += took[which];
                        totals.iter_mut().zip(took).for_each(|(total, took)| *total += took);
                    }
                    sum
                });
            });
        }
        let ratio = totals[0].as_secs_f64() / totals[1].as_secs_f64();
        println!("journal/append_{records}: {ratio:.3} of one synced write of the same {} bytes", bytes.len());
    }
    group.finish();
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(10);
    for (name, records) in [("recover_1k", 1_000), ("recover_100k", 100_000)] {
        let (directory, mut store) = open();
        // In batches of 10, as a manager that journals each step would leave them.
        for _ in 0..records / 10 {
            store.journal.append(&entries(10)).expect("appended");
        }
        drop(store);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (mut store, mut count) = (Store::open(directory.path()).expect("opened"), 0);
                let visited = store.journal.visit(0..u64::MAX, &mut |_| {
                    count += 1;
                    ControlFlow::Continue(())
                });
                visited.expect("read");
                assert_eq!(count, records);
            });
        });
    }
    group.finish();
}

fn blobs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("blobs");
    group.sample_size(10).throughput(Throughput::Bytes(TEN_MILLION as u64));
    let (_directory, mut store) = open();
    let parts: Vec<_> = (0..10_u8).map(|part| vec![part; TEN_MILLION / 10]).collect();
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    group.bench_function("put_10m", |bencher| {
        bencher.iter_custom(|iterations| {
            let timed = |_| {
                store.blobs.retain(&mut |_| false).expect("deleted");
                let started = Instant::now();
                store.blobs.put_all(black_box(&parts)).expect("stored");
                started.elapsed()
            };
            (0..iterations).map(timed).sum()
        });
    });
    let digests = store.blobs.put_all(&parts).expect("stored");
    group.bench_function("get_10m", |bencher| {
        bencher.iter(|| {
            for digest in &digests {
                black_box(store.blobs.get(black_box(digest)).expect("read"));
            }
        });
    });
    group.finish();
}

fn open() -> (TempDir, Store) {
    let directory = TempDir::new_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory");
    let store = Store::open(directory.path()).expect("a store");
    (directory, store)
}

fn length(path: &Path) -> u64 {
    path.metadata().expect("a file").len()
}

fn entries(count: usize) -> Vec<Entry> {
    let command_id = CommandId::new("0190b3c4-7d1e-7c53-9e6f-0123456789ab").expect("an id");
    vec![Entry::Accepted { command_id, wire: vec![7; 80] }; count]
}

criterion_group!(benches, append, recover, blobs);
criterion_main!(benches);
