//! The load manager: hand-over from the cache, cold loads, and many askers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and may fail loudly"
)]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kasmina_kernel_load::doubles::{MemoryLibrary, sample_descriptor, sample_mlp};
use kasmina_kernel_load::{
    Digest, Digests, DirectoryLibrary, Initialisation, KernelLibrary, KernelLoadManager, LoadRequest, LoadSettings,
    Manifest, Purpose, Requested, initialise,
};
use kasmina_leyline::{BlueprintId, Monotonic, TrainingRunId, UnixTime};

const NOW: Monotonic = Monotonic::ORIGIN;
/// No load takes so long.
const LONG: Duration = Duration::from_secs(60);
/// Channels of kernels whose files have 0.1, 1, 10 and 100 MB.
const CHANNELS: [usize; 4] = [158, 500, 1_581, 5_000];
const SIZES: [&str; 4] = ["0.1mb", "1mb", "10mb", "100mb"];

fn handover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load_cached");
    let (manager, blueprint) = small();
    load(&manager, &blueprint);
    for threads in [1, 16] {
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
            bencher.iter_custom(|iterations| {
                let each = iterations.div_ceil(threads);
                let barrier = Barrier::new(threads as usize + 1);
                let mut start = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            barrier.wait();
                            for _ in 0..each {
                                black_box(manager.cached(black_box(&blueprint), NOW));
                            }
                        });
                    }
                    barrier.wait();
                    start = Instant::now();
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn idle_poll(criterion: &mut Criterion) {
    let (manager, _) = small();
    criterion.bench_function("load_idle_poll", |bencher| bencher.iter(|| black_box(manager.poll(NOW))));
}

fn cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load_cold");
    group.sample_size(10);
    let directory = tempfile::tempdir().unwrap();
    for channels in CHANNELS {
        let (digests, bytes) = publish(directory.path(), channels);
        let file = directory.path().join(format!("{}.safetensors", digests.checksum));
        let manager =
            KernelLoadManager::new(DirectoryLibrary::open(directory.path()).unwrap(), &LoadSettings::default());
        let blueprint = blueprint(channels);
        // In turns, so that both meet the same machine; each row reports one of them.
        let pair = |turn: u64| {
            let mut took = [Duration::ZERO; 2];
            for which in [turn % 2, (turn + 1) % 2] {
                manager.purge();
                let started = Instant::now();
                if which == 0 {
                    black_box(load(&manager, &blueprint));
                } else {
                    black_box(Digest::of(&fs::read(&file).unwrap()));
                }
                took[which as usize] = started.elapsed();
            }
            took
        };
        group.throughput(Throughput::Bytes(bytes));
        let size = SIZES[CHANNELS.iter().position(|it| *it == channels).unwrap()];
        let mut totals = [Duration::ZERO; 2];
        for (which, name) in [(0, "load"), (1, "read_and_hash")] {
            group.bench_function(format!("{name}_{size}"), |bencher| {
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
        println!("load_cold/{size}: {ratio:.2} of reading and hashing the same {bytes} bytes");
    }
    group.finish();
}

fn single_flight(criterion: &mut Criterion) {
    let (manager, blueprint) = small();
    criterion.bench_function("load_single_flight/16_askers", |bencher| {
        bencher.iter_custom(|iterations| {
            let (barrier, ready, mut total) = (Barrier::new(17), AtomicUsize::new(0), Duration::ZERO);
            thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        for _ in 0..iterations {
                            barrier.wait();
                            let asked = manager.request(request(&blueprint), NOW).unwrap();
                            ready.fetch_add(usize::from(matches!(asked, Requested::Ready(_))), Ordering::SeqCst);
                            barrier.wait();
                        }
                    });
                }
                for _ in 0..iterations {
                    manager.purge();
                    barrier.wait();
                    let start = Instant::now();
                    barrier.wait();
                    let mut answered = ready.swap(0, Ordering::SeqCst);
                    while answered < 16 {
                        answered += manager.poll(NOW).len();
                        if answered < 16 {
                            let _ = manager.wait(LONG);
                        }
                    }
                    total += start.elapsed();
                }
            });
            total
        });
    });
}

fn load(manager: &KernelLoadManager, blueprint: &BlueprintId) -> Arc<kasmina_kernel_load::VerifiedArtifact> {
    match manager.request(request(blueprint), NOW).unwrap() {
        Requested::Ready(kernel) => kernel,
        Requested::Pending(_) => loop {
            let _ = manager.wait(LONG);
            if let Some(arrival) = manager.poll(NOW).pop() {
                return arrival.outcome.unwrap();
            }
        },
    }
}

/// A manager of a library in memory with one kernel of 9 thousand parameters.
fn small() -> (KernelLoadManager, BlueprintId) {
    let library = MemoryLibrary::new();
    let manifest = manifest(96);
    library.add(&manifest, &Initialisation::default()).unwrap();
    (KernelLoadManager::new(library, &LoadSettings::default()), manifest.blueprint_id)
}

fn publish(directory: &Path, channels: usize) -> (Digests, u64) {
    let bytes = initialise(&manifest(channels), &Initialisation::default()).unwrap();
    let mut library = DirectoryLibrary::open_or_create(directory).unwrap();
    let digests = library.publish(&bytes, sample_descriptor(&blueprint(channels))).unwrap();
    assert!(library.fetch(&blueprint(channels)).is_ok());
    (digests, bytes.len() as u64)
}

fn request(blueprint: &BlueprintId) -> LoadRequest {
    let run = TrainingRunId::new("bench").unwrap();
    LoadRequest::new(blueprint.clone(), Purpose::Prefetch, run, UnixTime::default())
}

fn blueprint(channels: usize) -> BlueprintId {
    BlueprintId::new(format!("bp-{channels}")).unwrap()
}

fn manifest(channels: usize) -> Manifest {
    sample_mlp(blueprint(channels), channels).unwrap()
}

criterion_group!(benches, handover, idle_poll, cold, single_flight);
criterion_main!(benches);
