//! The journal and the checkpoints of a store on the disk of `CARGO_TARGET_TMPDIR`. Records hold 128 bytes.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    collections::BTreeMap,
    fs::File,
    hint::black_box,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kasmina_leyline::{CommandId, UnixTime};
use kasmina_rollback::{Checkpoint, CheckpointId, CheckpointStore, Entry, Journal, Record, Store};
use tempfile::TempDir;

/// 10 million parameters in f32.
const TEN_MILLION: usize = 40_000_000;

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(50).measurement_time(Duration::from_secs(4));
    for records in [1, 16, 256] {
        let (_directory, mut store) = open();
        let batch = entries(records);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("append_{records}"), |bencher| {
            bencher.iter(|| store.append(black_box(&batch)).expect("appended"));
        });
    }
    // What it would cost not to wait for the disk: the same encoding, written but not synced.
    for records in [1, 16, 256] {
        let directory = directory();
        let mut file = File::create(directory.path().join("unsynced")).expect("a file");
        let batch: Vec<_> = (1..).zip(entries(records)).map(|(sequence, entry)| Record { sequence, entry }).collect();
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("append_unsynced_{records}"), |bencher| {
            bencher.iter(|| {
                let bytes: Vec<_> = black_box(&batch).iter().flat_map(Record::encode).collect();
                file.write_all(&bytes).expect("written");
            });
        });
    }
    group.finish();
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(10);
    for (name, records) in [("recover_1k", 1_000), ("recover_100k", 100_000)] {
        let (directory, mut store) = open();
        // In batches of 10, as a manager that journals each step would leave them.
        let mut fill = |batches: usize| (0..batches).for_each(|_| assert!(store.append(&entries(10)).is_ok()));
        fill(records / 10);
        drop(store);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut store = Store::open(directory.path()).expect("opened");
                assert_eq!(store.read(0).expect("read").len(), records);
            });
        });
    }
    group.finish();
}

fn checkpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10).throughput(Throughput::Bytes(TEN_MILLION as u64));
    let (_directory, mut store) = open();
    let blobs = (0..10_u8).map(|part| (format!("seed-{part}/weights"), vec![part; TEN_MILLION / 10]));
    let id = CheckpointId::new("bench").expect("a name");
    let sample = Checkpoint { id, at: UnixTime::default(), sequence: 1, blobs: blobs.collect::<BTreeMap<_, _>>() };
    group.bench_function("save_10m", |bencher| {
        bencher.iter_custom(|iterations| {
            let timed = |_| {
                store.retain(&mut |_| false).expect("deleted");
                let started = Instant::now();
                store.save(black_box(&sample)).expect("saved");
                started.elapsed()
            };
            (0..iterations).map(timed).sum()
        });
    });
    group.bench_function("load_10m", |bencher| {
        bencher.iter(|| store.load(black_box(&sample.id)).expect("loaded"));
    });
    group.finish();
}

fn directory() -> TempDir {
    TempDir::new_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory")
}

fn open() -> (TempDir, Store) {
    let directory = directory();
    let store = Store::open(directory.path()).expect("a store");
    (directory, store)
}

fn entries(count: usize) -> Vec<Entry> {
    let command_id = CommandId::new("0190b3c4-7d1e-7c53-9e6f-0123456789ab").expect("an id");
    vec![Entry::CommandAccepted { command_id, wire: vec![7; 80] }; count]
}

criterion_group!(benches, append, recover, checkpoint);
criterion_main!(benches);
