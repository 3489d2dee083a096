//! Measures rounds: `cargo run --release -p kasmina-coordination --example measure --all-features -- WHAT`.
//!
//! `redis [WORKERS] [ROUNDS]` holds rounds over a Redis server of its own, `local` in the process; `sketch` and
//! `signatures` time what a worker computes; `scale FILE.png` models large groups and draws the curve.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made is over")]

mod scale;

use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use kasmina_coordination::{
    Digest, DirectoryKeeper, Keeper, Lease, LocalLease, Member, Membership, MemoryKeeper, Order, Outcome, RedisLease,
    RedisLeaseSettings, Report, SecretKey, Settings, Sketch, Worker, hash, subscription,
};
use kasmina_leyline::{CommandId, TrainingRunId};
use kasmina_oona::{Bus, BusSettings, EntryKeys, LocalBroker, RedisBus, RedisSettings, doubles::RedisServer};
use kasmina_safety::{Clock, SystemClock};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).and_then(|it| it.parse().ok()).unwrap_or(default);
    match arguments.first().map(String::as_str) {
        Some("redis") => redis(number(1, 8), number(2, 300)),
        Some("local") => local(number(1, 8), number(2, 300)),
        Some("sketch") => sketch(),
        Some("signatures") => println!("verifying a signature takes {:.1} us", verification_us()),
        Some("scale") => scale::run(arguments.get(1).map(String::as_str), verification_us()),
        _ => println!("redis [WORKERS] [ROUNDS] | local [WORKERS] [ROUNDS] | sketch | signatures | scale FILE.png"),
    }
}

fn run() -> TrainingRunId {
    TrainingRunId::new("measured").unwrap()
}

fn workers(count: usize) -> Vec<Worker> {
    let key = |number: u64| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        SecretKey::from_seed(&seed)
    };
    let keys: Vec<_> = (0..count as u64).map(key).collect();
    let members = Arc::new(Membership::new(&run(), keys.iter().map(SecretKey::public).collect()).unwrap());
    let settings = Settings { every: 1, lead: 0, ..Settings::default() };
    keys.into_iter().map(|key| Worker::new(settings.clone(), Arc::clone(&members), key).unwrap()).collect()
}

const TTL: Duration = Duration::from_secs(3);

fn local(count: usize, rounds: usize) {
    let clock = SystemClock::new();
    let broker = LocalBroker::new(BusSettings::default(), clock).unwrap();
    let lease = LocalLease::new(TTL, clock);
    let member = |worker: Worker| {
        let (id, bus) = (worker.id(), broker.join(subscription(&run(), worker.id())).unwrap());
        Member::new(worker, bus, lease.of(id), MemoryKeeper, clock, TTL)
    };
    report("in the process", rounds, workers(count).into_iter().map(member).collect());
}

fn redis(count: usize, rounds: usize) {
    let server = RedisServer::start(&[]).unwrap();
    let clock = SystemClock::new();
    for durable in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let member = |worker: Worker| {
            let id = worker.id();
            let settings = RedisSettings::new(server.address());
            let keys = EntryKeys::of("k1", "secret").unwrap();
            let bus = RedisBus::start(settings, keys, Some(subscription(&run(), id)), clock).unwrap();
            let mut settings = RedisLeaseSettings::new(server.address(), &run());
            settings.key = format!("lease.{durable}");
            let lease = RedisLease::new(settings, id, format!("process-{}", id.0)).unwrap();
            let keeper: Box<dyn Keeper> = if durable {
                Box::new(DirectoryKeeper::open(directory.path().join(id.0.to_string()), 4).unwrap())
            } else {
                Box::new(MemoryKeeper)
            };
            Member::new(worker, bus, lease, keeper, clock, TTL)
        };
        let what = if durable { "over Redis, promises synced to disk" } else { "over Redis" };
        report(what, rounds, workers(count).into_iter().map(member).collect());
        let mut raw = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
        redis::cmd("FLUSHALL").exec(&mut raw).unwrap();
    }
}

/// Holds rounds of members that come to each at the same time, and prints how long the last of them takes.
fn report<B, L, K>(what: &str, rounds: usize, members: Vec<Member<B, L, K>>)
where
    B: Bus + 'static,
    L: Lease + 'static,
    K: Keeper + 'static,
{
    let clock = SystemClock::new();
    let (count, together) = (members.len(), Arc::new(Barrier::new(members.len())));
    let began = clock.monotonic();
    let train = |number: usize, mut member: Member<B, L, K>| {
        let together = Arc::clone(&together);
        thread::spawn(move || {
            let mut times = Vec::new();
            for step in 0..rounds as u64 {
                let id = CommandId::new(format!("order-{step}-{number}")).unwrap();
                let order = Order::new(id, clock.unix(), vec![0; 300]);
                let digest = Digest { state: hash(b"s"), parameters: hash(b"p"), sketch: vec![1.0; 256] };
                let report = Report { digest, pending: vec![order], checkpoints: vec![], at: clock.unix() };
                together.wait();
                let before = clock.monotonic();
                let outcomes = member.barrier(step, report).unwrap();
                let decided = matches!(outcomes.last(), Some(Outcome::Decided(_)));
                times.push((clock.monotonic().since(before), decided));
                member.advance(step).unwrap();
            }
            times
        })
    };
    let threads: Vec<_> = members.into_iter().enumerate().map(|(number, member)| train(number, member)).collect();
    let times: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let seconds = clock.monotonic().since(began).as_secs_f64();
    let of = |round: usize| times.iter().map(|times| times[round].0).max().unwrap_or_default();
    // The first rounds wait for the lease and the groups.
    let mut slowest: Vec<_> = (10..rounds).map(of).collect();
    slowest.sort_unstable();
    let undecided = times.iter().flatten().filter(|(_, decided)| !decided).count();
    let at = |percent: usize| slowest[(slowest.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{count} workers {what}: the last has decided after p50 {:.2} ms, p95 {:.2} ms, most {:.2} ms; {:.0} rounds/s; \
         {undecided} of {} without a decision",
        at(50),
        at(95),
        at(100),
        rounds as f64 / seconds,
        rounds * count,
    );
}

fn sketch() {
    let values: Vec<f32> = (0..1_000_000).map(|at| (at as f32).sin()).collect();
    let clock = SystemClock::new();
    for k in [64, 256, 1_024] {
        let (began, times) = (clock.monotonic(), 300_u32);
        for seed in 0..times {
            let mut sketch = Sketch::new(k, seed.into());
            sketch.add(&values);
            black_box(sketch.finish());
        }
        let each = clock.monotonic().since(began) / times;
        println!(
            "a sketch of {k} of 1,000,000 values takes {:.3} ms: {:.0}/s",
            each.as_secs_f64() * 1e3,
            1.0 / each.as_secs_f64()
        );
    }
}

/// How long it takes to check one signature of a certificate of 100 workers.
fn verification_us() -> f64 {
    let key = SecretKey::from_seed(&[1; 32]);
    let members = Membership::new(&run(), vec![key.public()]).unwrap();
    let mut worker =
        Worker::new(Settings { every: 1, lead: 0, ..Settings::default() }, Arc::new(members.clone()), key).unwrap();
    let clock = SystemClock::new();
    let now = clock.monotonic();
    worker.lease_held(1, now.after(TTL), now);
    let digest = Digest { state: hash(b"s"), parameters: hash(b"p"), sketch: vec![] };
    worker.arrive(0, Report { digest, pending: vec![], checkpoints: vec![], at: clock.unix() }, now).unwrap();
    let decided = worker.decision(kasmina_coordination::Round { era: 0, step: 0 }).cloned().unwrap();
    let (began, times) = (clock.monotonic(), 2_000_u32);
    for _ in 0..times {
        assert!(black_box(decided.certificate.is_genuine(&members)));
    }
    clock.monotonic().since(began).as_secs_f64() * 1e6 / f64::from(times)
}
