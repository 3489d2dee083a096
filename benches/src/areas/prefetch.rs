//! The prefetch run: 300 requests, six at once, for kernels of 37 kB, through a load manager and both buses. The library's side answers each
//! request after a drawn time of 40 ms ± 8 ms. Nothing is cached, so that every request goes to it.
//!
//! Latency is from the request to the poll that returned the verified kernel; overhead is the latency without the time for which the library had
//! the request. The 95th percentile is taken of each 60 requests, so that it has an interval. Without a `redis-server` only the bus in the process is
//! measured.

mod library;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use kasmina::{
    kernel_load::{
        ArtifactLimits, Digests, DirectoryReader, Initialisation, KernelLoadManager, LoadRequest, LoadSettings,
        NoKernels, Purpose, Requested, doubles::sample_mlp, initialise,
    },
    leyline::{BlueprintId, Monotonic, TrainingRunId, UnixTime},
    safety::{Clock, SystemClock},
};
use kasmina_measure::{Limit, Row, Samples, percentile};
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, Health, LocalBroker, RedisBus, RedisSettings, Subscription, doubles::RedisServer,
};
use kasmina_urza::{OonaKernels, Urza};

use crate::{
    case::{Absent, Case},
    patience::{LONG, Patience},
};
use library::{Served, serve};

const REQUESTS: usize = 300;
/// Of a quick run.
const FEW: usize = 120;
const AT_ONCE: usize = 6;
/// Requests whose 95th percentile is one sample.
const TOGETHER: usize = 60;
/// A kernel of 9 thousand parameters.
const CHANNELS: usize = 96;
const MILLISECOND: f64 = 1e6;

/// What requests took, in nanoseconds.
#[derive(Default)]
struct Taken {
    latency: Vec<f64>,
    overhead: Vec<f64>,
}

pub(crate) fn cases(quick: bool) -> Vec<Case> {
    let requests = if quick { FEW } else { REQUESTS };
    let local = rows("local", "in the process", [45.0, 60.0, 1.0], [40.1, 53.4, 0.1]);
    let redis = rows("redis", "over Redis", [50.0, 65.0, 5.0], [40.5, 53.4, 0.5]);
    vec![
        Case::group(local, move |_| {
            let broker = LocalBroker::new(BusSettings::default(), SystemClock::new()).expect("settings");
            let join = |subscription| broker.join(subscription).expect("a subscription");
            let (trainer, library) = (join(OonaKernels::subscription("bench")), join(Urza::subscription("bench")));
            Ok(run(trainer, library, requests).samples())
        }),
        Case::group(redis, move |_| {
            let server = RedisServer::start(&[]).ok_or_else(|| Absent("there is no redis-server here".to_owned()))?;
            let start = |subscription: Subscription| {
                let (settings, keys) =
                    (RedisSettings::new(server.address()), EntryKeys::of("1", "secret").expect("a key"));
                let bus = RedisBus::start(settings, keys, Some(subscription), SystemClock::new()).expect("settings");
                let mut patience = Patience::new();
                while !matches!(bus.status().health, Health::Connected) {
                    patience.looked(false);
                    thread::yield_now();
                }
                bus
            };
            let (trainer, library) = (start(OonaKernels::subscription("bench")), start(Urza::subscription("bench")));
            Ok(run(trainer, library, requests).samples())
        }),
    ]
}

/// Latency, its 95th percentile, and overhead, with budgets and aims in milliseconds.
fn rows(bus: &str, how: &str, budgets: [f64; 3], aims: [f64; 3]) -> [Row; 3] {
    let what = [
        ("latency", format!("prefetch over 40 ms, {how}")),
        ("latency_p95", format!("the same, 95th percentile of each {TOGETHER}")),
        ("overhead", "the same, over what the library took".to_owned()),
    ];
    let limit = |milliseconds: f64| Limit::AtMost(milliseconds * MILLISECOND);
    let mut limits = budgets.into_iter().zip(aims);
    what.map(|(name, title)| {
        let (budget, aim) = limits.next().unwrap_or_default();
        Row::new(format!("prefetch/{bus}_{name}"), title).budget(limit(budget)).aim(limit(aim))
    })
}

impl Taken {
    fn samples(self) -> [Samples; 3] {
        let Self { latency, overhead } = self;
        let p95 = |some: &[f64]| {
            let mut sorted = some.to_vec();
            sorted.sort_by(f64::total_cmp);
            percentile(&sorted, 95.0)
        };
        let p95 = latency.chunks_exact(TOGETHER).filter_map(p95).collect();
        [latency, p95, overhead].map(|ours| Samples { ours, yardstick: Vec::new() })
    }
}

/// Ends the threads that look at it, also when what it is for panics: a scope waits for its threads.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Six requests at once, until all have been answered.
fn run(trainer: impl Bus + 'static, library: impl Bus + 'static, requests: usize) -> Taken {
    let clock = SystemClock::new();
    let directory = tempfile::tempdir().expect("a directory");
    let digests: BTreeMap<String, Digests> = (0..AT_ONCE).map(|index| write(directory.path(), index)).collect();
    let (served, told) = channel();
    let end = AtomicBool::new(false);
    let kernels = OonaKernels::new(trainer, NoKernels);
    let settings = LoadSettings { cache_bytes: 0, ..LoadSettings::default() };
    let reader = DirectoryReader::new(directory.path());
    let manager = KernelLoadManager::over_messages(kernels.clone(), reader, &settings, clock.unix());
    thread::scope(|scope| {
        scope.spawn(|| serve(&library, &digests, &served, clock, &end));
        scope.spawn(|| {
            let answers = manager.answers();
            while !end.load(Ordering::Relaxed) {
                kernels.bus().wait(Duration::from_millis(20));
                kernels.poll(&answers, 64).expect("a subscribed bus");
            }
        });
        let _end = End(&end);
        ask(&manager, &told, clock, requests)
    })
}

fn ask(manager: &KernelLoadManager, told: &Receiver<Served>, clock: SystemClock, requests: usize) -> Taken {
    let (mut taken, mut asked, mut begun) = (Taken::default(), 0, BTreeMap::new());
    let mut took: BTreeMap<String, Duration> = BTreeMap::new();
    let mut request = |blueprint: &BlueprintId, begun: &mut BTreeMap<BlueprintId, Monotonic>| {
        if asked < requests {
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
    while taken.latency.len() < requests {
        assert!(manager.wait(LONG), "a request has got lost");
        for arrival in manager.poll(clock.monotonic()) {
            let latency = clock.monotonic().since(begun[&arrival.blueprint]);
            arrival.outcome.expect("a kernel");
            took.extend(told.try_iter().map(|served| (served.blueprint, served.took)));
            let served = took.remove(arrival.blueprint.as_str()).expect("it was served");
            taken.latency.push(latency.as_nanos() as f64);
            taken.overhead.push(latency.saturating_sub(served).as_nanos() as f64);
            request(&arrival.blueprint, &mut begun);
        }
    }
    taken
}

fn name(index: usize) -> String {
    format!("bp-{index}")
}

fn write(directory: &Path, index: usize) -> (String, Digests) {
    let blueprint = BlueprintId::new(name(index)).expect("an id");
    let manifest = sample_mlp(blueprint, CHANNELS).expect("a kernel");
    let bytes = initialise(&manifest, &Initialisation::default()).expect("a kernel");
    std::fs::write(directory.join(format!("{}.safetensors", name(index))), &bytes).expect("written");
    (name(index), Digests::of(&bytes, &ArtifactLimits::default()).expect("digests"))
}
