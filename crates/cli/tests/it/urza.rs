//! `kasmina urza serve` over a real Redis.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kasmina_kernel_load::DirectoryLibrary;
use kasmina_leyline::{
    BlueprintId, Monotonic,
    v1::{BusEnvelope, BusMessageType, KernelArtifactError, KernelArtifactReady, KernelPrefetchRequest},
};
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, Message, RedisBus, RedisSettings, Stream, StreamNames, Subscription,
    doubles::RedisServer,
};
use kasmina_safety::{Clock, SystemClock};
use prost::Message as _;

use crate::{failure, kasmina, kernels::built};

/// The stream of requests, with the prefix of these tests.
const REQUESTS: &str = "kernels.kernels.requests";
const SECRET: &str = "a shared secret";
/// How long processes may take that have something to do. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(60);

/// A process that serves, until this is dropped.
struct Serving(Child);

impl Serving {
    fn start(directory: &Path, server: &RedisServer) -> Self {
        Self::start_as("urza", directory, server)
    }

    fn start_as(consumer: &str, directory: &Path, server: &RedisServer) -> Self {
        let mut command = kasmina(&["urza", "serve", "--bus", &server.address(), "--prefix", "kernels"]);
        command.args(["--consumer", consumer]);
        command.arg(directory).env("ESPER_LEYLINE_SECRET", SECRET).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.0.id())).status().unwrap();
        assert!(sent.success(), "SIG{name} was not sent");
    }
}

impl Drop for Serving {
    /// SIGKILL, if it still runs.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn trainer(server: &RedisServer) -> RedisBus {
    let mut settings = RedisSettings::new(server.address());
    settings.bus = BusSettings { streams: StreamNames::prefixed("kernels"), ..BusSettings::default() };
    let subscription = Subscription::new("trainer", "one", [Stream::KernelReady, Stream::KernelErrors]);
    let keys = EntryKeys::of("esper", SECRET).unwrap();
    RedisBus::start(settings, keys, Some(subscription), SystemClock::new()).unwrap()
}

/// Asks for a kernel.
fn ask(bus: &RedisBus, id: &str, blueprint: &str) {
    let (request_id, blueprint_id) = (id.into(), blueprint.into());
    let request = KernelPrefetchRequest { request_id, blueprint_id, ..KernelPrefetchRequest::default() };
    bus.publish(Message::new(BusMessageType::KernelPrefetchRequest, request.encode_to_vec())).unwrap();
}

/// The next message of a type.
fn next<T: prost::Message + Default>(bus: &RedisBus, message_type: BusMessageType) -> T {
    let clock = SystemClock::new();
    loop {
        assert!(clock.monotonic() < Monotonic::ORIGIN.after(SOON), "no {message_type:?}");
        for delivery in bus.poll(1).unwrap() {
            bus.acknowledge(delivery.id).unwrap();
            if delivery.message_type == message_type {
                return T::decode(delivery.envelope.payload.as_slice()).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn requests_are_answered_before_and_after_kill_9() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let directory = built();
    let bus = trainer(&server);
    let serving = Serving::start(directory.path(), &server);
    ask(&bus, "load-1-0", "mlp-r2-c8");
    let ready: KernelArtifactReady = next(&bus, BusMessageType::KernelPrefetchReady);
    let library = DirectoryLibrary::open(directory.path()).unwrap();
    let (file, digests) = library.reference(&BlueprintId::new("mlp-r2-c8").unwrap()).unwrap();
    assert_eq!((ready.request_id.as_str(), ready.artifact_ref.as_str()), ("load-1-0", file));
    assert_eq!(ready.checksum, digests.checksum.to_string());
    assert!(0.0 < ready.prewarm_p50_ms && ready.prewarm_p50_ms <= ready.prewarm_p95_ms, "{ready:?}");
    drop(serving);
    ask(&bus, "load-1-1", "absent");
    let _serving = Serving::start(directory.path(), &server);
    let error: KernelArtifactError = next(&bus, BusMessageType::KernelPrefetchError);
    assert_eq!((error.request_id.as_str(), error.reason.as_str()), ("load-1-1", "unknown_blueprint"));
}

#[test]
fn requests_that_a_killed_library_had_taken_go_to_another() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let directory = built();
    let bus = trainer(&server);
    let mut raw = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
    let mut asked = BTreeSet::new();
    // It is killed while it has requests in its hands.
    for round in 0..20 {
        let dead = Serving::start_as("dead", directory.path(), &server);
        for number in 0..30 {
            let id = format!("load-{round}-{number}");
            ask(&bus, &id, "mlp-r2-c8");
            asked.insert(id);
        }
        let clock = SystemClock::new();
        while group(&mut raw).is_none_or(|[pending, _]| pending == 0) {
            assert!(clock.monotonic() < Monotonic::ORIGIN.after(SOON), "it takes nothing");
        }
        drop(dead);
        if group(&mut raw).is_some_and(|[pending, _]| pending > 0) {
            break;
        }
    }
    let taken = make_idle(&mut raw);
    assert!(!taken.is_empty(), "it always had answered all");
    let _heir = Serving::start_as("heir", directory.path(), &server);
    let mut answered = BTreeSet::new();
    while answered != asked {
        let ready: KernelArtifactReady = next(&bus, BusMessageType::KernelPrefetchReady);
        assert!(asked.contains(&ready.request_id), "{ready:?}");
        answered.insert(ready.request_id);
    }
}

/// Makes the server believe that what is pending was delivered a minute ago. Returns it.
fn make_idle(raw: &mut redis::Connection) -> Vec<String> {
    let mut question = redis::cmd("XPENDING");
    question.arg(REQUESTS).arg("urza").arg("-").arg("+").arg(1_000);
    let pending: Vec<(String, String, i64, i64)> = question.query(raw).unwrap();
    for (id, consumer, ..) in &pending {
        let mut claim = redis::cmd("XCLAIM");
        claim.arg(REQUESTS).arg("urza").arg(consumer).arg(0).arg(id).arg("IDLE").arg(61_000).arg("JUSTID");
        claim.exec(raw).unwrap();
    }
    pending.into_iter().map(|(id, ..)| id).collect()
}

#[test]
fn told_to_stop_it_exits_with_0_after_its_last_answers() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let directory = built();
    for (signal, asked) in [("INT", 30), ("TERM", 60)] {
        let bus = trainer(&server);
        let mut serving = Serving::start(directory.path(), &server);
        for number in 0..30 {
            ask(&bus, &format!("load-1-{number}"), "mlp-r2-c8");
        }
        let _: KernelArtifactReady = next(&bus, BusMessageType::KernelPrefetchReady);
        serving.signal(signal);
        assert_eq!(serving.0.wait().unwrap().code(), Some(0), "SIG{signal}");
        bus.flush(SOON).unwrap();
        let mut raw = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
        let answers: Vec<Entry> =
            redis::cmd("XRANGE").arg("kernels.kernels.ready").arg("-").arg("+").query(&mut raw).unwrap();
        let is_answer = |(_, fields): &Entry| {
            let payload = fields.iter().find(|(name, _)| name == "payload").unwrap();
            let envelope = BusEnvelope::decode(payload.1.as_slice()).unwrap();
            envelope.message_type == i32::from(BusMessageType::KernelPrefetchReady)
        };
        let answered = answers.into_iter().filter(is_answer).count();
        let [pending, unread] = group(&mut raw).unwrap();
        assert_eq!(answered + pending + unread, asked, "SIG{signal}: none is answered and left, or neither");
    }
}

/// The id of an entry, and its fields.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// Requests that the libraries have taken and not acknowledged, and those that they have not taken. None before there is a group.
fn group(raw: &mut redis::Connection) -> Option<[usize; 2]> {
    let groups: Vec<redis::Value> = redis::cmd("XINFO").arg("GROUPS").arg(REQUESTS).query(raw).ok()?;
    let redis::Value::Array(facts) = groups.first()? else { panic!("{groups:?}") };
    let fact = |name: &str| {
        let at = facts.iter().position(|fact| *fact == redis::Value::BulkString(name.into())).unwrap();
        let redis::Value::Int(number) = facts[at + 1] else { panic!("{facts:?}") };
        usize::try_from(number).unwrap()
    };
    Some([fact("pending"), fact("lag")])
}

#[test]
fn serving_without_a_secret_fails() {
    let directory = built();
    let mut command = kasmina(&["urza", "serve", "--bus", "redis://127.0.0.1:1"]);
    let (code, why) = failure(&command.arg(directory.path()).output().unwrap());
    assert!(code == Some(1) && why.contains("ESPER_LEYLINE_SECRET"), "{why}");
}

#[test]
fn address_that_cannot_be_read_is_not_repeated() {
    let directory = built();
    let mut command = kasmina(&["urza", "serve", "--unsigned", "--bus", "http://user:password@host"]);
    let (code, why) = failure(&command.arg(directory.path()).output().unwrap());
    assert!(code == Some(2) && why.contains("--bus: ") && !why.contains("password"), "{why}");
}

#[test]
fn directory_without_a_catalogue_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = kasmina(&["urza", "serve", "--unsigned", "--bus", "redis://127.0.0.1:1"]);
    let (code, why) = failure(&command.arg(directory.path()).output().unwrap());
    assert!(code == Some(1) && why.contains("catalogue.json does not exist"), "{why}");
}
