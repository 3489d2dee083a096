//! Worlds for the suite, and what other tests need of a real server.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, LocalBroker, Message, RedisBus, RedisSettings, Stream, StreamNames, Subscription,
    conformance::World, doubles::RedisServer,
};
use kasmina_safety::{Clock, SystemClock, doubles::ManualClock};
use prost::Message as _;
use redis::{Connection, Value, cmd};
use sha2::Sha256;

/// For a flush that has nothing to wait for but a server that is well.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(20);

/// Streams in the process.
pub(crate) struct LocalWorld {
    clock: ManualClock,
    broker: LocalBroker,
}

impl LocalWorld {
    pub(crate) fn new(settings: BusSettings) -> Self {
        let clock = clock_of_today();
        let broker = LocalBroker::new(settings, clock.clone()).unwrap();
        Self { clock, broker }
    }
}

impl World for LocalWorld {
    fn bus(&mut self, subscription: Option<Subscription>) -> Box<dyn Bus> {
        match subscription {
            Some(subscription) => Box::new(self.broker.join(subscription).unwrap()),
            None => Box::new(self.broker.publisher()),
        }
    }

    fn store_before(&mut self, text: &str, ago: Duration) {
        let now = self.clock.unix();
        self.clock.set_unix(now.before(ago));
        self.broker.publisher().publish(Message::new(BusMessageType::AdaptationCommand, text.as_bytes())).unwrap();
        self.clock.set_unix(now);
    }

    fn pass(&mut self, by: Duration) {
        self.clock.advance(by);
    }

    fn dead_letters(&mut self) -> Vec<String> {
        self.broker.dead_letters().iter().map(|letter| letter.cause.name().to_owned()).collect()
    }
}

/// A server of its own.
pub(crate) struct RedisWorld {
    pub(crate) server: RedisServer,
    pub(crate) clock: ManualClock,
    pub(crate) settings: RedisSettings,
    pub(crate) keys: EntryKeys,
}

impl RedisWorld {
    pub(crate) fn new(bus: BusSettings, options: &[&str]) -> Option<Self> {
        let server = RedisServer::start(options)?;
        let mut settings = RedisSettings::new(server.address());
        // A test moves its clock, not the server's.
        settings.bus = BusSettings { ahead: Duration::from_secs(3_600), ..bus };
        settings.block = Duration::from_millis(10);
        settings.first_retry = Duration::from_millis(1);
        settings.jitter_seed = Some(7);
        // A machine that is busy is not a server that is stalled.
        settings.response_timeout = Duration::from_secs(20);
        Some(Self { server, clock: clock_of_today(), settings, keys: EntryKeys::of("2026", "secret").unwrap() })
    }

    pub(crate) fn start(&self, subscription: Option<Subscription>) -> RedisBus {
        RedisBus::start(self.settings.clone(), self.keys.clone(), subscription, self.clock.clone()).unwrap()
    }

    /// A connection that has nothing to do with the bus.
    pub(crate) fn raw(&self) -> Connection {
        redis::Client::open(self.server.address()).unwrap().get_connection().unwrap()
    }
}

impl World for RedisWorld {
    fn bus(&mut self, subscription: Option<Subscription>) -> Box<dyn Bus> {
        Box::new(self.start(subscription))
    }

    fn store_before(&mut self, text: &str, ago: Duration) {
        let payload = Message::new(BusMessageType::AdaptationCommand, text.as_bytes()).envelope.encode_to_vec();
        let millis = self.clock.unix().before(ago).as_nanos() / 1_000_000;
        let mut add = cmd("XADD");
        add.arg(self.settings.bus.streams.of(Stream::Normal)).arg(format!("{millis}-*"));
        add.arg("signature").arg(signature("secret", &payload)).arg("payload").arg(payload);
        add.exec(&mut self.raw()).unwrap();
    }

    fn pass(&mut self, by: Duration) {
        let mut raw = self.raw();
        for stream in Stream::ALL {
            make_idle(&mut raw, self.settings.bus.streams.of(stream), by);
        }
        self.clock.advance(by);
    }

    fn dead_letters(&mut self) -> Vec<String> {
        dead_letters(&mut self.raw(), &self.settings.bus.streams)
    }
}

/// A subscription of a group's only consumer.
pub(crate) fn reader(group: &str) -> Option<Subscription> {
    Some(Subscription::new(group, "one", [Stream::Emergency, Stream::Normal]))
}

/// Waits for what a server or a thread does, some twenty seconds at most.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("never: {what}");
}

/// What a sender puts into the field `signature`, by another route than the bus.
pub(crate) fn signature(secret: &str, payload: &[u8]) -> String {
    let mac: Hmac<Sha256> = Hmac::new_from_slice(secret.as_bytes()).unwrap();
    STANDARD.encode(mac.chain_update(payload).finalize().into_bytes())
}

pub(crate) fn clock_of_today() -> ManualClock {
    let clock = ManualClock::default();
    clock.set_unix(SystemClock::new().unix());
    clock
}

/// Makes the server believe that everything pending was delivered so long ago. It stays with its consumer, and counts
/// no delivery.
pub(crate) fn make_idle(raw: &mut Connection, stream: &str, by: Duration) {
    let Ok(groups) = cmd("XINFO").arg("GROUPS").arg(stream).query::<Vec<Value>>(raw) else { return };
    for group in groups {
        let Value::Array(facts) = group else { panic!("{group:?}") };
        let Value::BulkString(group) = &facts[1] else { panic!("{facts:?}") };
        let pending: Vec<(String, String, i64, i64)> =
            cmd("XPENDING").arg(stream).arg(group).arg("-").arg("+").arg(10_000).query(raw).unwrap();
        for (id, consumer, _, _) in pending {
            let mut claim = cmd("XCLAIM");
            claim.arg(stream).arg(group).arg(consumer).arg(0).arg(id).arg("IDLE").arg(by.as_millis() as u64);
            claim.arg("JUSTID").query::<Value>(raw).unwrap();
        }
    }
}

/// The field of that name of every entry.
pub(crate) fn column(raw: &mut Connection, stream: &str, field: &str) -> Vec<Vec<u8>> {
    type Fields = Vec<(Vec<u8>, Vec<u8>)>;
    let entries: Vec<(String, Fields)> = cmd("XRANGE").arg(stream).arg("-").arg("+").query(raw).unwrap();
    let find = |fields: Fields| fields.into_iter().find(|(name, _)| name == field.as_bytes());
    entries.into_iter().filter_map(|(_, fields)| Some(find(fields)?.1)).collect()
}

pub(crate) fn dead_letters(raw: &mut Connection, names: &StreamNames) -> Vec<String> {
    let causes = column(raw, &names.dead_letters, "cause");
    causes.into_iter().map(|cause| String::from_utf8(cause).unwrap()).collect()
}

/// What the group of a stream has not acknowledged.
pub(crate) fn pending(raw: &mut Connection, stream: &str, group: &str) -> usize {
    let summary: Vec<Value> = cmd("XPENDING").arg(stream).arg(group).query(raw).unwrap();
    let Value::Int(count) = summary[0] else { panic!("{summary:?}") };
    usize::try_from(count).unwrap()
}
