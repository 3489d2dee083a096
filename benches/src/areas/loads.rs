//! The load manager: hand-over from the cache, cold loads, many askers, and training steps beside a hundred loads.

mod alike;

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kasmina::{
    GraftBackend,
    kernel_load::{
        Digest, DirectoryLibrary, Initialisation, KernelLoadManager, LoadRequest, LoadSettings, Manifest, Purpose,
        Requested, VerifiedArtifact,
        doubles::{MemoryLibrary, sample_descriptor, sample_mlp},
        initialise,
    },
    leyline::{BlueprintId, Monotonic, TrainingRunId, UnixTime},
    safety::{Clock, SystemClock},
};
use kasmina_measure::{Limit, Meter, Row, Samples, Side, Unit};

use crate::{
    case::Case,
    hosts::Transformer,
    patience::{LONG, Patience},
    setting::Setting,
    threads::at_once,
    trial::{Stage, twice},
};
use alike::Alike;

const NOW: Monotonic = Monotonic::ORIGIN;
const ASKERS: usize = 16;
/// Channels of kernels whose files have so many bytes.
const FILES: [(usize, &str); 4] = [(158, "0.1mb"), (500, "1mb"), (1_581, "10mb"), (5_000, "100mb")];
/// Loads of 10 MB beside which steps are taken.
const LOADS: usize = 100;

pub(crate) fn cases<B: GraftBackend>(setting: &Setting<B>) -> Vec<Case> {
    let mut cases = vec![cached(), cached_by_many(), idle_poll(), single_flight(), hit_rate()];
    let files = FILES.iter().filter(|(_, size)| !setting.quick || !size.starts_with("100"));
    cases.extend(files.map(|file| cold(*file)));
    cases.push(step_beside_loads(setting));
    cases
}

fn cached() -> Case {
    let row = Row::new("load/cached", "load manager: a cached kernel");
    Case::new(row.budget(Limit::AtMost(1_000.0)).aim(Limit::AtMost(100.0)), |meter| {
        let (manager, blueprint) = small();
        load(&manager, &blueprint);
        meter.alone(Side::repeat(|| manager.cached(black_box(&blueprint), NOW)))
    })
}

fn cached_by_many() -> Case {
    let row = Row::new("load/cached_by_16_threads", "load manager: a cached kernel, 16 threads at once");
    Case::new(row.beside("1 thread"), |mut meter| {
        // Until sixteen threads run, a part of a millisecond is over.
        meter.effort.sample = Duration::from_millis(20);
        let (manager, blueprint) = small();
        load(&manager, &blueprint);
        let threads = |threads: usize| {
            let (manager, blueprint) = (&manager, &blueprint);
            Side::timed(move |count| {
                let each = count.div_ceil(threads as u64);
                let ask = |(): &mut (), ()| (0..each).for_each(|_| drop(manager.cached(black_box(blueprint), NOW)));
                let span = at_once(SystemClock::new(), vec![(); threads].into_iter(), |()| (), ask);
                span.last.since(span.first)
            })
        };
        meter.pair(threads(16), threads(1))
    })
}

fn idle_poll() -> Case {
    Case::new(Row::new("load/idle_poll", "load manager: a poll that finds nothing"), |meter| {
        let (manager, _) = small();
        meter.alone(Side::repeat(|| manager.poll(NOW)))
    })
}

/// A file in a directory, beside reading and hashing it.
fn cold((channels, size): (usize, &str)) -> Case {
    let row =
        Row::new(format!("load/cold_{size}"), format!("load a kernel of {size}")).beside("read and hash the file");
    // A load of 0.1 MB is a hand-over between threads.
    let row = if size == "0.1mb" { row } else { row.budget(Limit::RatioAtMost(2.0)).aim(Limit::RatioAtMost(1.5)) };
    Case::new(row, move |meter| {
        let directory = tempfile::tempdir().expect("a directory");
        let file = publish(directory.path(), channels);
        let library = DirectoryLibrary::open(directory.path()).expect("a library");
        let manager = KernelLoadManager::new(library, &LoadSettings::default());
        let blueprint = blueprint(channels);
        let ours = Side::each(|| manager.purge(), |_| load(&manager, &blueprint));
        let plain = Side::repeat(|| Digest::of(&fs::read(&file).expect("read")));
        meter.slow().pair(ours, plain)
    })
}

fn single_flight() -> Case {
    let row = Row::new("load/single_flight", "16 threads ask for one kernel of 37 kB").beside("one load of it");
    Case::new(row, |meter| {
        let (manager, blueprint) = small();
        let many = Side::timed(|count| (0..count).map(|_| asked_by_many(&manager, &blueprint)).sum());
        meter.pair(many, Side::each(|| manager.purge(), |_| load(&manager, &blueprint)))
    })
}

/// From the moment at which all ask until each has its kernel.
fn asked_by_many(manager: &KernelLoadManager, blueprint: &BlueprintId) -> Duration {
    let (clock, ready) = (SystemClock::new(), AtomicUsize::new(0));
    manager.purge();
    let ask = |(): &mut (), ()| {
        let asked = manager.request(request(blueprint), NOW).expect("room");
        ready.fetch_add(usize::from(matches!(asked, Requested::Ready(_))), Ordering::SeqCst);
    };
    let started = at_once(clock, vec![(); ASKERS].into_iter(), |()| (), ask).first;
    let mut answered = ready.into_inner();
    while answered < ASKERS {
        answered += arrived(manager);
        assert!(answered >= ASKERS || manager.wait(LONG), "a load has got lost");
    }
    clock.monotonic().since(started)
}

/// Requests for a hundred kernels, the popular ones more often, through a cache that holds a quarter of them.
fn hit_rate() -> Case {
    const KERNELS: usize = 100;
    const REQUESTS: usize = 2_000;
    let row =
        Row::new("load/hit_rate", "cache hits, 2,000 requests for 100 kernels, room for 25, one in i for the i-th");
    Case::new(row.in_unit(Unit::Share).budget(Limit::AtLeast(0.5)), |_| {
        let library = MemoryLibrary::new();
        let kernel =
            |index: usize| sample_mlp(BlueprintId::new(format!("bp-{index}")).expect("an id"), 96).expect("a kernel");
        (0..KERNELS).for_each(|index| drop(library.add(&kernel(index), &Initialisation::default())));
        let weights: Vec<f64> = (1..=KERNELS).map(|rank| 1.0 / rank as f64).collect();
        let whole: f64 = weights.iter().sum();
        let mut random = fastrand::Rng::with_seed(7);
        // What one kernel takes in the cache is found by loading it.
        let probe = KernelLoadManager::new(library.clone(), &LoadSettings::default());
        load(&probe, &BlueprintId::new("bp-0").expect("an id"));
        let room = probe.stats().cache.bytes * KERNELS as u64 / 4;
        let manager = KernelLoadManager::new(library, &LoadSettings { cache_bytes: room, ..LoadSettings::default() });
        let hits = (0..REQUESTS).map(|_| {
            let mut left = random.f64() * whole;
            let drawn = weights.iter().position(|weight| {
                left -= weight;
                left <= 0.0
            });
            let name = BlueprintId::new(format!("bp-{}", drawn.unwrap_or(0))).expect("an id");
            let is_hit = manager.cached(&name, NOW).is_some();
            load(&manager, &name);
            f64::from(u8::from(is_hit))
        });
        let hits: Vec<f64> = hits.collect();
        // The cache fills first. Each sample is the rate of a hundred requests.
        let rates = hits[hits.len() / 4..].chunks(100).map(|some| some.iter().sum::<f64>() / some.len() as f64);
        Samples { ours: rates.collect(), yardstick: Vec::new() }
    })
}

/// A step of a transformer while up to 100 loads of 10 MB are in flight, beside the same step before them.
fn step_beside_loads<B: GraftBackend>(setting: &Setting<B>) -> Case {
    let row = Row::new("load/step_beside_100", "a step of a transformer, 4 blocks of 48, 100 loads of 10 MB in flight");
    let row = row.beside("the same with none").budget(Limit::RatioAtMost(1.5)).aim(Limit::RatioAtMost(1.1));
    let setting = setting.clone();
    Case::new(row, move |meter| beside_loads(meter, &setting))
}

/// In rounds: the loads are asked for, and every step until the last of them has arrived counts; then as many steps alone. The n-th step of one
/// is paired with the n-th of the other, so that a pair is of the same second or two.
fn beside_loads<B: GraftBackend>(meter: Meter<'_>, setting: &Setting<B>) -> Samples {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = LoadSettings { cache_bytes: 0, ..LoadSettings::default() };
    let manager = KernelLoadManager::new(Alike::new(&directory.path().join("kernel")), &settings);
    let (_, mut managed) = twice(Transformer::init(48, 4, &setting.device), 0, Stage::Training, setting);
    let clock = SystemClock::new();
    let mut timed = |to: &mut Vec<f64>| {
        let started = clock.monotonic();
        managed.step();
        let arrived = arrived(&manager);
        to.push(clock.monotonic().since(started).as_nanos() as f64);
        arrived
    };
    let mut samples = Samples::default();
    for _ in 0..if meter.effort.at_least < 20 { 2 } else { 4 } {
        for index in 0..LOADS {
            let asked = manager.request(request(&alike::blueprint(index)), NOW).expect("room");
            assert!(matches!(asked, Requested::Pending(_)), "nothing is cached");
        }
        let (mut left, mut patience) = (LOADS, Patience::new());
        while left > 0 {
            let arrived = timed(&mut samples.ours);
            patience.looked(arrived > 0);
            left -= arrived;
        }
        while samples.yardstick.len() < samples.ours.len() {
            timed(&mut samples.yardstick);
        }
    }
    samples
}

/// How many kernels have arrived since the last look.
fn arrived(manager: &KernelLoadManager) -> usize {
    let arrived = manager.poll(NOW);
    for arrival in &arrived {
        arrival.outcome.as_ref().expect("a kernel");
    }
    arrived.len()
}

pub(crate) fn load(manager: &KernelLoadManager, blueprint: &BlueprintId) -> Arc<VerifiedArtifact> {
    match manager.request(request(blueprint), NOW).expect("room") {
        Requested::Ready(kernel) => kernel,
        Requested::Pending(_) => loop {
            assert!(manager.wait(LONG), "a load has got lost");
            if let Some(arrival) = manager.poll(NOW).pop() {
                return arrival.outcome.expect("a kernel");
            }
        },
    }
}

/// A manager of a library in memory with one kernel of 9 thousand parameters.
fn small() -> (KernelLoadManager, BlueprintId) {
    let library = MemoryLibrary::new();
    let manifest = manifest(96);
    library.add(&manifest, &Initialisation::default()).expect("a kernel");
    (KernelLoadManager::new(library, &LoadSettings::default()), manifest.blueprint_id)
}

/// Its file.
fn publish(directory: &Path, channels: usize) -> std::path::PathBuf {
    let bytes = initialise(&manifest(channels), &Initialisation::default()).expect("a kernel");
    let mut library = DirectoryLibrary::open_or_create(directory).expect("a library");
    let digests = library.publish(&bytes, sample_descriptor(&blueprint(channels))).expect("published");
    directory.join(format!("{}.safetensors", digests.checksum))
}

fn request(blueprint: &BlueprintId) -> LoadRequest {
    let run = TrainingRunId::new("bench").expect("an id");
    LoadRequest::new(blueprint.clone(), Purpose::Prefetch, run, UnixTime::default())
}

fn blueprint(channels: usize) -> BlueprintId {
    BlueprintId::new(format!("bp-{channels}")).expect("an id")
}

fn manifest(channels: usize) -> Manifest {
    sample_mlp(blueprint(channels), channels).expect("the layers chain")
}
