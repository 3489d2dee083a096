//! `kasmina send --bus` and `kasmina watch` over a real Redis.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
    sync::Arc,
    time::Duration,
};

use kasmina_dispatch::{BusSink, Inbox};
use kasmina_leyline::{
    Monotonic, SeedId, TrainingRunId, UnixTime,
    v1::{FieldReport, FieldReportOutcome, TelemetryPacket},
};
use kasmina_oona::{BusSettings, EntryKeys, RedisBus, RedisSettings, Subscription, doubles::RedisServer};
use kasmina_safety::{Clock, SystemClock};
use kasmina_security::{CommandVerifier, KeyRing, Secret, VerifiedBytes, Verifier};
use kasmina_telemetry::{Assembler, Event, Sink, field_report_event, names};

use crate::{failure, kasmina};

const SECRET: &str = "a shared secret";
/// How long a process or a server may take. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(60);

fn bus(server: &RedisServer, subscription: Option<Subscription>) -> RedisBus {
    let mut settings = RedisSettings::new(server.address());
    settings.bus = Inbox::settings(BusSettings::default());
    RedisBus::start(settings, EntryKeys::of("esper", SECRET).unwrap(), subscription, SystemClock::new()).unwrap()
}

fn run() -> TrainingRunId {
    TrainingRunId::new("run-7").unwrap()
}

/// The packets of a step in which a seed was culled, in this life of the run.
fn packets(life: &str) -> Vec<Arc<TelemetryPacket>> {
    let mut assembler = Assembler::new("kasmina", run(), 64).resumed(life);
    let seed = SeedId::new("seed-1").unwrap();
    assembler.event(None, Event::new(names::COMMAND_ACCEPTED).with("command_id", "tamiyo-1"));
    assembler.event(Some(&seed), Event::new(names::SEED_CULLED).with("reason", "two words\nand a line"));
    let report = FieldReport {
        report_id: "run-7/seed-1/5".into(),
        seed_id: "seed-1".into(),
        outcome: FieldReportOutcome::Neutral.into(),
        metrics: [("alpha".to_owned(), 0.5)].into(),
        ..FieldReport::default()
    };
    assembler.event(Some(&seed), field_report_event(&report));
    let packets = assembler.assemble(3, UnixTime::from_millis(1_700_000_000_000));
    packets.into_iter().map(|packet| packet.packet).collect()
}

fn publish(server: &RedisServer, life: &str) {
    let mut sink = BusSink::new(bus(server, None));
    packets(life).iter().for_each(|packet| sink.deliver(packet).unwrap());
    sink.bus().flush(SOON).unwrap();
}

/// A process that watches, until this is dropped.
struct Watching(Child, BufReader<ChildStdout>);

impl Watching {
    fn start(server: &RedisServer, arguments: &[&str]) -> Self {
        let mut command = kasmina(&["watch", "--bus", &server.address()]);
        command.args(arguments).env("ESPER_LEYLINE_SECRET", SECRET).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Watching {
    /// SIGKILL.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn command_sent_over_redis_is_stored_and_authentic() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let mut command = kasmina(&["send", "--bus", &server.address(), "pause", "seed-1", "--run", "run-7"]);
    let output = command.env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", failure(&output).1);
    let mut inbox = Inbox::new(bus(&server, Some(Inbox::subscription(&run(), "trainer-1"))));
    let mut verifier = CommandVerifier::new(KeyRing::of("k1", Secret::new(SECRET).unwrap()));
    let clock = SystemClock::new();
    let answered = loop {
        assert!(clock.monotonic() < Monotonic::ORIGIN.after(SOON), "nothing came");
        let verify =
            |wire: &[u8]| verifier.verify(wire, clock.unix(), clock.monotonic()).and_then(VerifiedBytes::decode);
        let served = inbox.serve(|wires| wires.into_iter().map(verify).collect(), |_| true).unwrap();
        if !served.answers.is_empty() {
            break served.answers;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let verified = answered[0].as_ref().unwrap();
    assert_eq!(verified.command().target_seed_id, "seed-1");
    assert_eq!(verified.command().annotations["training_run_id"], "run-7");
}

#[test]
fn command_without_a_server_is_not_said_to_be_sent() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    server.kill();
    let mut command = kasmina(&["send", "--bus", &server.address(), "pause", "seed-1"]);
    let (code, why) = failure(&command.env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap());
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("has not stored the command") && why.contains("unreachable"), "{why}");
}

#[test]
fn command_goes_to_a_file_or_over_a_bus() {
    let mut command = kasmina(&["send", "--bus", "redis://127.0.0.1:1", "--out", "file", "pause", "seed-1"]);
    let (code, why) = failure(&command.env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap());
    assert!(code == Some(2) && why.contains("--out"), "{why}");
}

#[test]
fn watched_events_are_one_line_each() {
    let Some(server) = RedisServer::start(&[]) else { return };
    publish(&server, "");
    let mut watching = Watching::start(&server, &[]);
    let lines: Vec<_> = (0..3).map(|_| watching.line()).collect();
    assert_eq!(
        lines,
        [
            "2023-11-14T22:13:20Z INFO     run-7 - command_accepted command_id=tamiyo-1\n",
            "2023-11-14T22:13:20Z WARNING  run-7 seed-1 seed_culled reason=\"two words\\nand a line\"\n",
            "2023-11-14T22:13:20Z INFO     run-7 seed-1 field_report blueprint_id=\"\" metric.alpha=0.5 \
             observation_window_epochs=0 outcome=FIELD_REPORT_OUTCOME_NEUTRAL reason=\"\" report_id=run-7/seed-1/5\n",
        ]
    );
}

#[test]
fn lower_levels_are_left_out() {
    let Some(server) = RedisServer::start(&[]) else { return };
    publish(&server, "");
    let mut watching = Watching::start(&server, &["--level", "warning"]);
    assert!(watching.line().contains("seed_culled"));
    publish(&server, "1");
    assert!(watching.line().contains("seed_culled"), "nothing in between");
}

#[test]
fn json_has_whole_packets() {
    let Some(server) = RedisServer::start(&[]) else { return };
    publish(&server, "");
    let mut watching = Watching::start(&server, &["--json", "--level", "warning"]);
    let line = watching.line();
    assert!(line.starts_with('{') && line.contains("\"packet_id\":\"run-7-2\""), "{line}");
}

#[test]
fn reader_that_is_started_again_goes_on() {
    let Some(server) = RedisServer::start(&[]) else { return };
    publish(&server, "");
    let mut watching = Watching::start(&server, &[]);
    (0..3).for_each(|_| drop(watching.line()));
    // What was acknowledged is known to the server some milliseconds later.
    let group = "watch-watch";
    let pending = || {
        let output = std::process::Command::new("redis-cli")
            .args(["-p", &server.port().to_string(), "XPENDING", "oona.telemetry", group])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let clock = SystemClock::new();
    while !pending().starts_with("0\n") {
        assert!(clock.monotonic() < Monotonic::ORIGIN.after(SOON), "{}", pending());
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(watching);
    publish(&server, "1");
    let mut again = Watching::start(&server, &[]);
    assert!(again.line().contains("command_accepted"), "from the second time on");
    (0..2).for_each(|_| drop(again.line()));
    publish(&server, "2");
    assert!(again.line().contains("command_accepted"), "and three lines were all");
}

#[test]
fn watching_without_a_secret_fails() {
    let (code, why) = failure(&kasmina(&["watch", "--bus", "redis://127.0.0.1:1"]).output().unwrap());
    assert!(code == Some(1) && why.contains("ESPER_LEYLINE_SECRET"), "{why}");
}
