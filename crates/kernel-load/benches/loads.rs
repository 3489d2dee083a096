//! The load manager: hand-over from the cache, cold loads, many askers, and kernels that a library announces.
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

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::channel::{self, Receiver, Sender};
use kasmina_kernel_load::doubles::{MemoryLibrary, sample_descriptor, sample_mlp};
use kasmina_kernel_load::{
    Answers, ArtifactLimits, Digest, Digests, DirectoryLibrary, DirectoryReader, Initialisation, KernelLibrary,
    KernelLoadManager, KernelMessages, LibraryError, LoadRequest, LoadSettings, Manifest, Purpose, Requested,
    initialise, verify,
};
use kasmina_leyline::v1::{BlueprintDescriptor, KernelArtifactReady, KernelPrefetchRequest};
use kasmina_leyline::{BlueprintId, Monotonic, TrainingRunId, UnixTime};

const NOW: Monotonic = Monotonic::ORIGIN;
/// No load takes so long.
const LONG: Duration = Duration::from_secs(60);
/// Channels of kernels whose files have 0.1, 1, 10 and 100 MB.
const CHANNELS: [usize; 4] = [158, 500, 1_581, 5_000];

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
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(BenchmarkId::new("read_and_hash", bytes), |bencher| {
            bencher.iter(|| Digest::of(&fs::read(&file).unwrap()));
        });
        let manager =
            KernelLoadManager::new(DirectoryLibrary::open(directory.path()).unwrap(), &LoadSettings::default());
        group.bench_function(BenchmarkId::new("load", bytes), |bencher| {
            bencher.iter_batched(|| manager.purge(), |_| load(&manager, &blueprint(channels)), BatchSize::PerIteration);
        });
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

/// 300 requests that a library answers after 40 ms ± 8 ms, six at once.
fn announced(criterion: &mut Criterion) {
    const REQUESTS: usize = 300;
    let mut group = criterion.benchmark_group("load_announced");
    group.sample_size(10).measurement_time(Duration::from_secs(5)).warm_up_time(Duration::from_millis(1));
    let mut samples = Vec::new();
    group.bench_function("300_requests_6_at_once", |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                samples.extend(announce(REQUESTS, 6));
            }
            start.elapsed()
        });
    });
    group.finish();
    if samples.is_empty() {
        return;
    }
    println!("load_announced: the same work without a manager: p50 {:.3} ms", least() * 1e3);
    for (what, of) in [
        ("latency", (|sample| sample.latency) as fn(&Sample) -> Duration),
        ("drawn", |sample| sample.drawn),
        ("overhead over the answer's real time", |sample| sample.overhead),
    ] {
        let mut millis: Vec<f64> = samples.iter().map(|sample| of(sample).as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        let mean = millis.iter().sum::<f64>() / millis.len() as f64;
        let [p50, p95] = [50, 95].map(|percent| millis[(millis.len() * percent).div_ceil(100) - 1]);
        let count = millis.len();
        println!("load_announced: {what}: mean {mean:.3} ms, p50 {p50:.3} ms, p95 {p95:.3} ms of {count} requests");
    }
}

/// What an announced load costs without a manager, in seconds: an idle thread wakes, reads and verifies the file, and wakes another
/// one. The median of 101.
fn least() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let blueprint = blueprint(0);
    let digests = write(directory.path(), &blueprint);
    let ((first, relay), (last, end)) = (channel::unbounded::<Instant>(), channel::unbounded());
    let file = directory.path().join(format!("{blueprint}.safetensors"));
    thread::spawn(move || {
        for start in relay {
            let kernel = verify(&fs::read(&file).unwrap(), &digests, &ArtifactLimits::default()).unwrap();
            last.send((start, kernel)).unwrap();
        }
    });
    thread::spawn(move || {
        for _ in 0..101 {
            thread::sleep(Duration::from_millis(7));
            first.send(Instant::now()).unwrap();
        }
    });
    let mut seconds: Vec<f64> = end.iter().map(|(start, _)| start.elapsed().as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[50]
}

struct Sample {
    /// From the request to the poll that returned the kernel.
    latency: Duration,
    /// What the library was told to take.
    drawn: Duration,
    /// What the latency has beyond the time that the library really took.
    overhead: Duration,
}

/// Sends requests to the library's threads.
struct Port(Sender<(KernelPrefetchRequest, Instant)>);

impl KernelMessages for Port {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(sample_descriptor(blueprint))
    }

    fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        self.0.send((request, Instant::now())).unwrap();
        Ok(())
    }
}

fn announce(requests: usize, at_once: usize) -> Vec<Sample> {
    let directory = tempfile::tempdir().unwrap();
    let blueprints: Vec<_> = (0..at_once).map(|index| BlueprintId::new(format!("bp-{index}")).unwrap()).collect();
    let digests: Vec<_> = blueprints.iter().map(|blueprint| write(directory.path(), blueprint)).collect();
    let ((port, asked), (told, served)) = (channel::unbounded(), channel::unbounded());
    // Nothing is cached, so that every request goes to the library.
    let settings = LoadSettings { cache_bytes: 0, ..LoadSettings::default() };
    let reader = DirectoryReader::new(directory.path());
    let manager = KernelLoadManager::over_messages(Port(port), reader, &settings, UnixTime::from_nanos(1));
    for seed in 0..at_once {
        let (asked, told, answers, digests) = (asked.clone(), told.clone(), manager.answers(), digests.clone());
        thread::spawn(move || serve(seed as u64, &asked, &told, &answers, &digests));
    }
    let mut begun = vec![Instant::now(); at_once];
    let mut samples = Vec::new();
    let mut left = requests;
    let ask = |index: usize, left: &mut usize, begun: &mut Vec<Instant>| {
        if *left > 0 {
            *left -= 1;
            begun[index] = Instant::now();
            assert!(matches!(manager.request(request(&blueprints[index]), NOW), Ok(Requested::Pending(_))));
        }
    };
    (0..at_once).for_each(|index| ask(index, &mut left, &mut begun));
    while samples.len() < requests {
        let _ = manager.wait(LONG);
        for arrival in manager.poll(NOW) {
            arrival.outcome.unwrap();
            let latency = {
                let index = blueprints.iter().position(|blueprint| *blueprint == arrival.blueprint).unwrap();
                let latency = begun[index].elapsed();
                ask(index, &mut left, &mut begun);
                latency
            };
            let (drawn, took) = served.recv().unwrap();
            samples.push(Sample { latency, drawn, overhead: latency.saturating_sub(took) });
        }
    }
    samples
}

/// Answers requests, each after its time.
fn serve(
    seed: u64,
    asked: &Receiver<(KernelPrefetchRequest, Instant)>,
    told: &Sender<(Duration, Duration)>,
    answers: &Answers,
    digests: &[Digests],
) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for (request, sent) in asked {
        // Irwin and Hall: the sum of twelve uniform numbers has variance 1.
        let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let drawn = Duration::from_secs_f64((0.040 + 0.008 * normal).max(0.0));
        thread::sleep(drawn.saturating_sub(sent.elapsed()));
        let index: usize = request.blueprint_id.strip_prefix("bp-").unwrap().parse().unwrap();
        told.send((drawn, sent.elapsed())).unwrap();
        answers.ready(KernelArtifactReady {
            artifact_ref: format!("{}.safetensors", request.blueprint_id),
            request_id: request.request_id,
            blueprint_id: request.blueprint_id,
            checksum: digests[index].checksum.to_string(),
            guard_digest: digests[index].guard_digest.to_string(),
            ..Default::default()
        });
    }
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

fn write(directory: &Path, blueprint: &BlueprintId) -> Digests {
    let bytes = initialise(&sample_mlp(blueprint.clone(), 96).unwrap(), &Initialisation::default()).unwrap();
    fs::write(directory.join(format!("{blueprint}.safetensors")), &bytes).unwrap();
    Digests::of(&bytes, &ArtifactLimits::default()).unwrap()
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

criterion_group!(benches, handover, idle_poll, cold, single_flight, announced);
criterion_main!(benches);
