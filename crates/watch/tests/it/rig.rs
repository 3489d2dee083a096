//! A run that a test writes, with a server and a browser for it.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kasmina_leyline::{SeedId, TrainingRunId, UnixTime, v1::TelemetryPacket};
use kasmina_telemetry::{Assembler, Event, JsonLinesSink, Metric, Sink, names};
use kasmina_watch::{Follower, Server};

use crate::chromium::Browser;

/// A run that a test writes, a server for it, and a browser that looks at it.
pub(crate) struct Rig {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: Option<Server>,
    pub(crate) browser: Browser,
    pub(crate) assembler: Assembler,
    pub(crate) seed: SeedId,
}

impl Rig {
    pub(crate) fn open() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(Follower::new(directory.path().join("runs")), 0).unwrap();
        let browser = Browser::open(&format!("http://{}/", server.address()))?;
        let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
        Some(Self { directory, server: Some(server), browser, assembler, seed: SeedId::new("seed-1").unwrap() })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("runs/telemetry.jsonl")
    }

    pub(crate) fn append(&self, bytes: &[u8]) {
        fs::create_dir_all(self.directory.path().join("runs")).unwrap();
        append(&self.path(), bytes);
    }

    /// The packets of a step with this loss, as lines.
    pub(crate) fn step(&mut self, step: u64, loss: f64) -> Vec<u8> {
        self.assembler.metric(None, Metric::new(names::HOST_LOSS, loss));
        self.assembler.metric(Some(&self.seed), Metric::new(names::SEED_ALPHA, step as f64 / 100.0));
        self.packets(step)
    }

    pub(crate) fn packets(&mut self, step: u64) -> Vec<u8> {
        lines(
            &self
                .assembler
                .assemble(step, UnixTime::from_millis(1_700_000_000_000))
                .into_iter()
                .map(|it| it.packet)
                .collect::<Vec<_>>(),
        )
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.assembler.event(Some(&self.seed), event);
    }

    /// A number of the run.
    pub(crate) fn metric(&mut self, metric: Metric) {
        self.assembler.metric(None, metric);
    }

    /// Steps of an ordinary run, with a seed that has passed a gate at step 40.
    pub(crate) fn run_to(&mut self, last: u64) {
        for step in 1..=last {
            if step == 40 {
                self.event(
                    Event::new(names::GATE_EVENT).with("gate", "SEED_GATE_G2_STABILITY").with("reason", "stable"),
                );
                self.moved("SEED_STAGE_TRAINING", "SEED_STAGE_BLENDING");
            }
            let lines = self.step(step, 2.0 / step as f64);
            self.append(&lines);
        }
    }

    pub(crate) fn moved(&mut self, from: &str, to: &str) {
        self.event(Event::new(names::SEED_STATE).with("from", from).with("to", to));
    }

    /// Another run that was written so many seconds later than now, or earlier.
    pub(crate) fn other(&self, name: &str, bytes: &[u8], seconds: i64) {
        let path = self.directory.path().join("runs").join(name);
        append(&path, bytes);
        let (by, written) =
            (Duration::from_secs(seconds.unsigned_abs()), fs::metadata(&path).unwrap().modified().unwrap());
        let at = if seconds < 0 { written - by } else { written + by };
        File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
    }

    /// Waits until the page has looked which runs there are, so many times from now on.
    pub(crate) fn until_looked(&mut self, times: u64) {
        let looks = "performance.getEntriesByType('resource').filter((it) => it.name.endsWith('/runs')).length";
        let before = self.browser.value(looks).as_u64().unwrap();
        self.browser.until(&format!("{looks} >= {}", before + times));
    }

    pub(crate) fn packets_read(&mut self) -> u64 {
        self.browser.value("Number(document.body.dataset.packets)").as_f64().unwrap() as u64
    }
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

pub(crate) fn lines(packets: &[Arc<TelemetryPacket>]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut sink = JsonLinesSink::new(&mut lines);
    packets.iter().for_each(|packet| sink.deliver(packet).unwrap());
    lines
}
