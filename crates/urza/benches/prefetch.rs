//! The prefetch run: 300 requests, six at once, for kernels of 37 kB, through a load manager and both buses. The library's
//! side answers each request after a drawn time of 40 ms ± 8 ms.
//!
//! Each run is made once, and criterion is told what it took, request by request: the latency, from the request to the poll that
//! returned the verified kernel; its 95th percentile; and the overhead, which is the latency without the time for which the
//! library had the request. Without a `redis-server` only the bus in the process is measured.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, clippy::panic, reason = "a bench that cannot set up has nothing to measure")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use kasmina_kernel_load::{
    ArtifactLimits, Digests, DirectoryReader, Initialisation, KernelLoadManager, LoadRequest, LoadSettings, Purpose,
    Requested, doubles::sample_mlp, initialise,
};
use kasmina_leyline::{
    BlueprintId, Monotonic, TrainingRunId, UnixTime,
    v1::{BusMessageType, KernelArtifactReady, KernelPrefetchRequest},
};
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, LocalBroker, Message, RedisBus, RedisSettings, Subscription, doubles::RedisServer,
};
use kasmina_safety::{Clock, SystemClock};
use kasmina_urza::{OonaKernels, Urza};
use prost::Message as _;

const REQUESTS: usize = 300;
const AT_ONCE: usize = 6;
const MEAN: f64 = 0.040;
const DEVIATION: f64 = 0.008;
/// A kernel of 9 thousand parameters.
const CHANNELS: usize = 96;
/// Nothing takes so long.
const LONG: Duration = Duration::from_secs(60);

/// What requests took.
#[derive(Default)]
struct Taken {
    latency: Vec<Duration>,
    overhead: Vec<Duration>,
    drawn: Vec<Duration>,
}

/// How long the library was told to take for a request, and took.
struct Served {
    blueprint: String,
    drawn: Duration,
    took: Duration,
}

fn prefetch(criterion: &mut Criterion) {
    let clock = SystemClock::new();
    let mut group = criterion.benchmark_group("prefetch");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(100));
    let broker = LocalBroker::new(BusSettings::default(), clock).expect("settings");
    let join = |subscription| broker.join(subscription).expect("a subscription");
    let taken = run(join(OonaKernels::subscription("bench")), join(Urza::subscription("bench")), clock);
    report(&mut group, "local", taken);
    if let Some(server) = RedisServer::start(&[]) {
        let keys = EntryKeys::of("1", "secret").expect("a key");
        let start = |subscription: Subscription| {
            let settings = RedisSettings::new(server.address());
            let bus = RedisBus::start(settings, keys.clone(), Some(subscription), clock).expect("settings");
            while !matches!(bus.status().health, kasmina_oona::Health::Connected) {
                thread::yield_now();
            }
            bus
        };
        let taken = run(start(OonaKernels::subscription("bench")), start(Urza::subscription("bench")), clock);
        report(&mut group, "redis", taken);
    }
    group.finish();
}

fn report(group: &mut BenchmarkGroup<'_, WallTime>, bus: &str, taken: Taken) {
    let Taken { latency, overhead, drawn } = taken;
    let p95 = percentile(&latency, 95);
    println!(
        "prefetch/{bus}: drawn: mean {:.3} ms, p95 {:.3} ms",
        millis(mean(&drawn)),
        millis(percentile(&drawn, 95))
    );
    for (what, values) in [("latency", &latency), ("overhead", &overhead)] {
        let [p50, p95] = [50, 95].map(|percent| millis(percentile(values, percent)));
        println!("prefetch/{bus}: {what}: mean {:.3} ms, p50 {p50:.3} ms, p95 {p95:.3} ms", millis(mean(values)));
    }
    replay(group, &format!("{bus}_latency"), &latency);
    replay(group, &format!("{bus}_latency_p95"), &[p95]);
    replay(group, &format!("{bus}_overhead"), &overhead);
}

/// Tells criterion what was measured, again and again.
fn replay(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, values: &[Duration]) {
    let mut next = values.iter().cycle();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| (&mut next).take(iterations as usize).sum());
    });
}

/// Six requests at once, until all have been answered.
fn run(trainer: impl Bus + 'static, library: impl Bus + 'static, clock: SystemClock) -> Taken {
    let directory = tempfile::tempdir().expect("a directory");
    let digests: BTreeMap<String, Digests> = (0..AT_ONCE).map(|index| write(directory.path(), index)).collect();
    let (served, told) = channel();
    let end = AtomicBool::new(false);
    let kernels = OonaKernels::new(trainer, kasmina_kernel_load::NoKernels);
    // Nothing is cached, so that every request goes to the library.
    let settings = LoadSettings { cache_bytes: 0, ..LoadSettings::default() };
    let reader = DirectoryReader::new(directory.path());
    let manager = KernelLoadManager::over_messages(kernels.clone(), reader, &settings, clock.unix());
    thread::scope(|scope| {
        scope.spawn(|| serve(&library, &digests, served, clock, &end));
        scope.spawn(|| {
            let answers = manager.answers();
            while !end.load(Ordering::Relaxed) {
                kernels.bus().wait(Duration::from_millis(20));
                kernels.poll(&answers, 64).expect("a subscribed bus");
            }
        });
        let taken = ask(&manager, &told, clock);
        end.store(true, Ordering::Relaxed);
        taken
    })
}

fn ask(manager: &KernelLoadManager, told: &Receiver<Served>, clock: SystemClock) -> Taken {
    let (mut taken, mut asked, mut begun) = (Taken::default(), 0, BTreeMap::new());
    let mut took: BTreeMap<String, Served> = BTreeMap::new();
    let mut request = |blueprint: &BlueprintId, begun: &mut BTreeMap<BlueprintId, Monotonic>| {
        if asked < REQUESTS {
            asked += 1;
            let run = TrainingRunId::new("bench").expect("an id");
            let request = LoadRequest::new(blueprint.clone(), Purpose::Prefetch, run, UnixTime::default());
            let now = clock.monotonic();
            begun.insert(blueprint.clone(), now);
            assert!(matches!(manager.request(request, now), Ok(Requested::Pending(_))), "nothing is cached");
        }
    };
    for index in 0..AT_ONCE {
        request(&BlueprintId::new(name(index)).expect("an id"), &mut begun);
    }
    while taken.latency.len() < REQUESTS {
        assert!(manager.wait(LONG), "a request has got lost");
        for arrival in manager.poll(clock.monotonic()) {
            let latency = clock.monotonic().since(begun[&arrival.blueprint]);
            arrival.outcome.expect("a kernel");
            took.extend(told.try_iter().map(|served| (served.blueprint.clone(), served)));
            let Served { drawn, took, .. } = took.remove(arrival.blueprint.as_str()).expect("it was served");
            taken.latency.push(latency);
            taken.overhead.push(latency.saturating_sub(took));
            taken.drawn.push(drawn);
            request(&arrival.blueprint, &mut begun);
        }
    }
    taken
}

/// The library's side.
fn serve(
    bus: &impl Bus,
    digests: &BTreeMap<String, Digests>,
    told: Sender<Served>,
    clock: SystemClock,
    end: &AtomicBool,
) {
    let mut draw = drawing();
    let mut answers = BinaryHeap::new();
    let mut requests = BTreeMap::new();
    while !end.load(Ordering::Relaxed) {
        let next = answers.peek().map(|Reverse((due, _))| *due);
        let rest = next.map_or(Duration::from_millis(20), |due: Monotonic| due.since(clock.monotonic()));
        bus.wait(rest);
        for delivery in bus.poll(64).expect("a subscribed bus") {
            let (came, drawn) = (clock.monotonic(), draw());
            let request = KernelPrefetchRequest::decode(delivery.envelope.payload.as_slice()).expect("a request");
            answers.push(Reverse((came.after(drawn), request.request_id.clone())));
            requests.insert(request.request_id, (request.blueprint_id, came, drawn));
            bus.acknowledge(delivery.id).expect("room");
        }
        while let Some(Reverse((due, request_id))) = answers.pop() {
            let now = clock.monotonic();
            if now < due {
                answers.push(Reverse((due, request_id)));
                break;
            }
            let (blueprint, came, drawn) = requests.remove(&request_id).expect("it was asked");
            let message = ready(request_id, &blueprint, &digests[&blueprint]);
            let took = clock.monotonic().since(came);
            // The trainer may be gone by now.
            let _ = told.send(Served { blueprint, drawn, took });
            bus.publish(message).expect("room");
        }
    }
}

fn ready(request_id: String, blueprint: &str, digests: &Digests) -> Message {
    let ready = KernelArtifactReady {
        request_id,
        blueprint_id: blueprint.into(),
        artifact_ref: format!("{blueprint}.safetensors"),
        checksum: digests.checksum.to_string(),
        guard_digest: digests.guard_digest.to_string(),
        ..KernelArtifactReady::default()
    };
    Message::new(BusMessageType::KernelPrefetchReady, ready.encode_to_vec())
}

/// Draws times, the same in every run.
fn drawing() -> impl FnMut() -> Duration {
    let mut random = fastrand::Rng::with_seed(7);
    move || {
        // Irwin and Hall: the sum of twelve uniform numbers has variance 1.
        let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        Duration::from_secs_f64((MEAN + DEVIATION * normal).max(0.0))
    }
}

fn name(index: usize) -> String {
    format!("bp-{index}")
}

fn write(directory: &Path, index: usize) -> (String, Digests) {
    let blueprint = BlueprintId::new(name(index)).expect("an id");
    let manifest = sample_mlp(blueprint, CHANNELS).expect("a kernel");
    let bytes = initialise(&manifest, &Initialisation::default()).expect("a kernel");
    fs::write(directory.join(format!("{}.safetensors", name(index))), &bytes).expect("written");
    (name(index), Digests::of(&bytes, &ArtifactLimits::default()).expect("digests"))
}

fn mean(values: &[Duration]) -> Duration {
    values.iter().sum::<Duration>() / u32::try_from(values.len()).unwrap_or(1).max(1)
}

fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

criterion_group!(benches, prefetch);
criterion_main!(benches);
