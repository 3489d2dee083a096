//! Messages of 300 bytes over both buses, beside the same commands sent by hand over the same kind of connection, in pipelines of 64.
//!
//! A run is 4,096 messages. Without a `redis-server` only the bus in the process is measured.

use std::thread;

use kasmina::{leyline::v1::BusMessageType, safety::SystemClock};
use kasmina_measure::{Row, Samples, Side};
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, LocalBroker, Message, RedisBus, RedisSettings, Stream, Subscription,
    doubles::RedisServer,
};
use redis::{Connection, Pipeline, Value, cmd, pipe};

use crate::{
    case::{Absent, Case},
    patience::{LONG, Patience},
};

const MESSAGES: usize = 4_096;
const BATCH: usize = 64;
const BYTES: usize = 300;
const STREAM: &str = "oona.telemetry";

pub(crate) fn cases() -> Vec<Case> {
    let local = Case::new(Row::new("bus/local", "4,096 messages of 300 bytes, in the process"), |meter| {
        let broker = LocalBroker::new(BusSettings::default(), SystemClock::new()).expect("settings");
        let bus = broker.join(subscription()).expect("a subscription");
        meter.alone(Side::repeat(|| {
            publish(&bus);
            consume(&bus);
        }))
    });
    let mut cases = vec![local];
    for signed in [false, true] {
        let (name, suffix) = if signed { ("signed_", ", signed") } else { ("", "") };
        let row = |what: &str, title: &str, beside: &str| {
            Row::new(format!("bus/redis_{name}{what}"), format!("4,096 messages of 300 bytes, {title}{suffix}"))
                .beside(beside)
        };
        let publishing = row("publish", "published over Redis", "XADD by hand, 64 at a time");
        cases.push(Case::group([publishing], move |meter| {
            let server = Server::start()?;
            let publisher = server.bus(signed, false);
            let [mut one, mut other, mut raw] = [(); 3].map(|()| server.connection());
            let ours = Side::each(|| empty(&mut one), |()| flushed(&publisher));
            let by_hand = Side::each(|| empty(&mut other), |()| raw_publish(&mut raw));
            Ok([meter.slow().pair(ours, by_hand)])
        }));
        let consuming = row("consume", "consumed over Redis", "XREADGROUP and XACK by hand, 64 at a time");
        cases.push(Case::group([consuming], move |meter| server_consumes(signed, meter)));
    }
    cases
}

fn server_consumes(signed: bool, meter: kasmina_measure::Meter<'_>) -> Result<[Samples; 1], Absent> {
    // A server each: a group by hand and the bus's would both have to read what is meant for one.
    let (server, other) = (Server::start()?, Server::start()?);
    let (publisher, bus) = (server.bus(signed, false), server.bus(signed, true));
    let ours = Side::each(
        || flushed(&publisher),
        |()| {
            consume(&bus);
            bus.flush(LONG).expect("flushed");
        },
    );
    let [mut filling, mut raw] = [(); 2].map(|()| other.connection());
    let by_hand = Side::each(
        || {
            empty(&mut filling);
            raw_publish(&mut filling);
            cmd("XGROUP").arg("CREATE").arg(STREAM).arg("bench").arg("0").exec(&mut filling).expect("a group");
        },
        |()| raw_consume(&mut raw),
    );
    Ok([meter.slow().pair(ours, by_hand)])
}

/// A Redis of this run.
struct Server(RedisServer);

impl Server {
    fn start() -> Result<Self, Absent> {
        RedisServer::start(&[]).map(Self).ok_or_else(|| Absent("there is no redis-server here".to_owned()))
    }

    fn bus(&self, signed: bool, subscribes: bool) -> RedisBus {
        let keys = if signed { EntryKeys::of("1", "secret").expect("a key") } else { EntryKeys::default() };
        let settings = RedisSettings::new(self.0.address());
        RedisBus::start(settings, keys, subscribes.then(subscription), SystemClock::new()).expect("settings")
    }

    fn connection(&self) -> Connection {
        redis::Client::open(self.0.address()).and_then(|it| it.get_connection()).expect("a server")
    }
}

fn flushed(publisher: &RedisBus) {
    publish(publisher);
    publisher.flush(LONG).expect("flushed");
}

fn subscription() -> Subscription {
    Subscription::new("bench", "one", [Stream::Telemetry])
}

fn message() -> Message {
    Message::new(BusMessageType::Telemetry, vec![b'x'; BYTES])
}

fn publish(bus: &impl Bus) {
    for _ in 0..MESSAGES {
        // Most are taken at once: those should not pay for a look at the clock.
        let (mut message, mut patience) = (message(), None);
        while let Err(refused) = bus.publish(message) {
            message = *refused.message;
            patience.get_or_insert_with(Patience::new).looked(false);
            thread::yield_now();
        }
    }
}

fn consume(bus: &impl Bus) {
    let (mut handled, mut patience) = (0, Patience::new());
    while handled < MESSAGES {
        let arrived = bus.poll(BATCH).expect("subscribed");
        patience.looked(!arrived.is_empty());
        if arrived.is_empty() {
            thread::yield_now();
        }
        for delivery in arrived {
            bus.acknowledge(delivery.id).expect("room");
            handled += 1;
        }
    }
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
