//! Messages of 300 bytes over both buses, beside the same commands sent by hand over the same kind of connection, in
//! pipelines of 64.
//!
//! A row is 16,384 messages. Without a `redis-server` only the bus in the process is measured.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::{thread, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, LocalBroker, Message, RedisBus, RedisSettings, Stream, Subscription,
    doubles::RedisServer,
};
use kasmina_safety::{Clock, SystemClock};
use redis::{Connection, Pipeline, Value, cmd, pipe};

const MESSAGES: usize = 16_384;
const BATCH: usize = 64;
const BYTES: usize = 300;
const STREAM: &str = "oona.telemetry";
const AT_ONCE: Duration = Duration::from_secs(60);

fn subscription() -> Subscription {
    Subscription::new("bench", "one", [Stream::Telemetry])
}

fn message() -> Message {
    Message::new(BusMessageType::Telemetry, vec![b'x'; BYTES])
}

fn publish(bus: &impl Bus) {
    let mut message = message();
    for _ in 0..MESSAGES {
        while let Err(refused) = bus.publish(message) {
            message = *refused.message;
            thread::yield_now();
        }
        message = self::message();
    }
}

fn consume(bus: &impl Bus) {
    let mut handled = 0;
    while handled < MESSAGES {
        let arrived = bus.poll(BATCH).expect("subscribed");
        if arrived.is_empty() {
            thread::yield_now();
        }
        for delivery in arrived {
            bus.acknowledge(delivery.id).expect("room");
            handled += 1;
        }
    }
}

/// The time of `measured` alone, with `prepare` before each.
fn alone(clock: SystemClock, iterations: u64, mut prepare: impl FnMut(), mut measured: impl FnMut()) -> Duration {
    let one = |_| {
        prepare();
        let began = clock.monotonic();
        measured();
        clock.monotonic().since(began)
    };
    (0..iterations).map(one).sum()
}

fn in_the_process(criterion: &mut Criterion) {
    let clock = SystemClock::new();
    let broker = LocalBroker::new(BusSettings::default(), clock).expect("settings");
    let bus = broker.join(subscription()).expect("a subscription");
    let mut group = criterion.benchmark_group("bus");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    group.bench_function("local", |bencher| {
        bencher.iter(|| {
            publish(&bus);
            consume(&bus);
        });
    });
    group.finish();
}

fn over_redis(criterion: &mut Criterion) {
    let Some(server) = RedisServer::start(&[]) else { return };
    let clock = SystemClock::new();
    let start = |keys, subscription| {
        let settings = RedisSettings::new(server.address());
        RedisBus::start(settings, keys, subscription, clock).expect("settings")
    };
    let mut raw = redis::Client::open(server.address()).and_then(|it| it.get_connection()).expect("a server");
    let mut group = criterion.benchmark_group("bus");
    group.throughput(Throughput::Elements(MESSAGES as u64)).sample_size(10);

    group.bench_function("raw_publish", |bencher| bencher.iter(|| raw_publish(&mut raw)));
    empty(&mut raw);
    let raw_group = || {
        let mut raw = redis::Client::open(server.address()).and_then(|it| it.get_connection()).expect("a server");
        empty(&mut raw);
        raw_publish(&mut raw);
        cmd("XGROUP").arg("CREATE").arg(STREAM).arg("bench").arg("0").exec(&mut raw).expect("a group");
    };
    group.bench_function("raw_consume", |bencher| {
        bencher.iter_custom(|iterations| alone(clock, iterations, raw_group, || raw_consume(&mut raw)));
    });
    empty(&mut raw);

    for (name, keys) in [("", EntryKeys::default()), ("signed_", EntryKeys::of("1", "secret").expect("a key"))] {
        let publisher = start(keys.clone(), None);
        let flushed = || {
            publish(&publisher);
            publisher.flush(AT_ONCE).expect("flushed");
        };
        group.bench_function(format!("redis_{name}publish"), |bencher| bencher.iter(flushed));
        empty(&mut raw);
        let bus = start(keys, Some(subscription()));
        group.bench_function(format!("redis_{name}consume"), |bencher| {
            bencher.iter_custom(|iterations| {
                alone(clock, iterations, flushed, || {
                    consume(&bus);
                    bus.flush(AT_ONCE).expect("flushed");
                })
            });
        });
        group.bench_function(format!("redis_{name}both"), |bencher| {
            bencher.iter(|| {
                publish(&publisher);
                consume(&bus);
                bus.flush(AT_ONCE).expect("flushed");
            });
        });
        drop(bus);
        empty(&mut raw);
    }
    group.finish();
}

fn empty(raw: &mut Connection) {
    cmd("DEL").arg(STREAM).exec(raw).expect("deleted");
}

fn raw_publish(raw: &mut Connection) {
    let payload = vec![b'x'; BYTES];
    for _ in 0..MESSAGES / BATCH {
        let mut batch: Pipeline = pipe();
        for _ in 0..BATCH {
            batch.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(100_000).arg("*").arg("payload").arg(&payload);
        }
        batch.query::<Vec<String>>(raw).expect("stored");
    }
}

fn raw_consume(raw: &mut Connection) {
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg("bench").arg("raw").arg("COUNT").arg(BATCH).arg("STREAMS").arg(STREAM).arg(">");
    for _ in 0..MESSAGES / BATCH {
        type Streams = Vec<(String, Vec<(String, Value)>)>;
        let mut streams: Streams = read.query(raw).expect("entries");
        let mut acknowledge = cmd("XACK");
        acknowledge.arg(STREAM).arg("bench");
        for (id, _) in streams.remove(0).1 {
            acknowledge.arg(id);
        }
        acknowledge.exec(raw).expect("acknowledged");
    }
}

criterion_group!(benches, in_the_process, over_redis);
criterion_main!(benches);
