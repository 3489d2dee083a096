//! `kasmina urza serve` over a real Redis.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use kasmina_kernel_load::DirectoryLibrary;
use kasmina_leyline::{
    BlueprintId, Monotonic,
    v1::{BusMessageType, KernelArtifactError, KernelArtifactReady, KernelPrefetchRequest},
};
use kasmina_oona::{
    Bus, BusSettings, EntryKeys, Message, RedisBus, RedisSettings, Stream, StreamNames, Subscription,
    doubles::RedisServer,
};
use kasmina_safety::{Clock, SystemClock};
use prost::Message as _;

use crate::{failure, kasmina, kernels::built};

const SECRET: &str = "a shared secret";
/// How long processes may take that have something to do. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(60);

/// A process that serves, until this is dropped.
struct Serving(Child);

impl Serving {
    fn start(directory: &Path, server: &RedisServer) -> Self {
        let mut command = kasmina(&["urza", "serve", "--bus", &server.address(), "--prefix", "kernels"]);
        command.arg(directory).env("ESPER_LEYLINE_SECRET", SECRET).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Serving {
    /// SIGKILL.
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
