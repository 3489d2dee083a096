//! A run whose policy is at the other end of a bus.

use std::collections::{BTreeMap, BTreeSet};

use kasmina::{
    CommandError, Receipt,
    doubles::{
        Act::{self, *},
        Trainee,
    },
    leyline::{
        TrainingRunId, UnixTime,
        v1::{FieldReport, FieldReportOutcome, SeedLifecycleStage::*},
    },
    rollback::{
        Entry,
        doubles::{MemoryStore, conformance::records},
    },
    safety::doubles::ManualClock,
};
use kasmina_dispatch::{BusSink, FieldReportSink, Inbox, News, NewsReader, Served, command};
use kasmina_oona::{BusSettings, LocalBroker};

use crate::common::{B, Mlp, World, determined, lenient};

type Answer = Result<Receipt, CommandError>;

/// A bus, and a store that outlives every process.
struct Rig {
    clock: ManualClock,
    broker: LocalBroker,
    store: MemoryStore,
    policy: NewsReader,
    reports: BTreeMap<String, FieldReport>,
}

/// The trainer's process.
struct Process {
    world: World,
    inbox: Inbox,
}

impl Rig {
    fn new() -> Self {
        let clock = ManualClock::default();
        clock.set_unix(UnixTime::from_millis(1_700_000_000_000));
        let broker = LocalBroker::new(Inbox::settings(BusSettings::default()), clock.clone()).unwrap();
        let policy = NewsReader::new(broker.join(NewsReader::subscription("tamiyo", "tamiyo-1")).unwrap());
        Self { clock, broker, store: MemoryStore::new(), policy, reports: BTreeMap::new() }
    }

    fn start(&self) -> Process {
        let world = World::with_clock(lenient(), self.clock.clone(), |builder| {
            let builder = builder.sink(BusSink::new(self.broker.publisher()));
            let builder = builder.sink(FieldReportSink::new(self.broker.publisher()));
            let builder = builder.journal(self.store.clone(), self.store.clone());
            builder.recover(&Default::default()).unwrap().0
        });
        let subscription = Inbox::subscription(&TrainingRunId::new("run-7").unwrap(), "trainer-1");
        Process { world, inbox: Inbox::new(self.broker.join(subscription).unwrap()) }
    }

    /// The process is killed, and another goes on with the model that the trainer has kept.
    fn kill(&self, process: Process, trainee: &Trainee<Mlp<B>>) -> Process {
        std::mem::forget(process);
        self.clock.advance(Inbox::CLAIM_AFTER);
        let mut process = self.start();
        process.world.go_on(&trainee.model);
        process
    }

    fn send(&self, process: &mut Process, act: Act) {
        let wire = process.world.wire("seed-1", act);
        self.policy.bus().publish(command(wire)).unwrap();
    }

    /// Lets the policy read; returns the names of the events.
    fn read(&mut self) -> Vec<String> {
        let (reports, mut names) = (&mut self.reports, Vec::new());
        let read = self.policy.read(1_000, |news| match news {
            News::Report(report) => drop(reports.insert(report.report_id.clone(), report)),
            News::Telemetry(packet) => names.extend(packet.events.into_iter().map(|event| event.description)),
        });
        assert_eq!(read.unwrap().malformed, 0);
        names
    }

    /// What the journal says was accepted and moved.
    fn journal(&self) -> (usize, Vec<String>) {
        let (mut accepted, mut moves) = (0, Vec::new());
        for record in records(&mut self.store.clone(), 0) {
            match record.entry {
                Entry::Accepted { .. } => accepted += 1,
                Entry::Moved { to, .. } => moves.push(to.as_str_name().to_owned()),
                Entry::NonceSeen { .. }
                | Entry::Refused { .. }
                | Entry::Ordered { .. }
                | Entry::Delta { .. }
                | Entry::Snapshot { .. }
                | Entry::Epoch { .. }
                | Entry::EpochDropped { .. }
                | Entry::RolledBack { .. }
                | Entry::Telemetry { .. }
                | Entry::WatermarkReset { .. } => {}
            }
        }
        (accepted, moves)
    }
}

impl Process {
    fn serve(&mut self) -> Served<Answer> {
        let Self { world, inbox } = self;
        inbox.serve(|wires| world.manager.submit_all(wires), CommandError::is_final).unwrap()
    }

    /// Answers, and dies before it acknowledges.
    fn serve_in_vain(&mut self) -> Vec<Answer> {
        let Self { world, inbox } = self;
        inbox.serve(|wires| world.manager.submit_all(wires), |_| false).unwrap().answers
    }
}

fn reasons(answers: &[Answer]) -> Vec<&'static str> {
    answers.iter().map(|answer| answer.as_ref().map_or_else(CommandError::reason, |_| "ok")).collect()
}

#[test]
fn run_killed_before_every_acknowledgement_grows_once() {
    let mut rig = Rig::new();
    let mut trainee = Trainee::new(determined(Mlp::init()));
    let mut process = rig.start();
    process.world.attach(&trainee.model);
    let script = [(1, Germinate), (14, Graft(5)), (20, Stabilize), (25, Evaluate), (40, Fossilize)];
    let mut fossilize = String::new();
    for (before, act) in &script {
        process.world.live::<_, (u64, Act)>(&mut trainee, before - 1, &[]);
        rig.send(&mut process, act.clone());
        let answers = process.serve_in_vain();
        assert_eq!(reasons(&answers), ["ok"], "{act:?}");
        fossilize = answers[0].as_ref().unwrap().command.to_string();
        let stage = process.world.stage("seed-1");
        process = rig.kill(process, &trainee);
        assert_eq!(process.world.stage("seed-1"), stage, "{act:?}");
        let served = process.serve();
        assert_eq!((reasons(&served.answers), served.kept, served.unacknowledged), (vec!["nonce_replayed"], 0, 0));
        rig.clock.advance(Inbox::CLAIM_AFTER);
        assert!(process.serve().answers.is_empty(), "it was acknowledged");
    }
    assert!(rig.reports.is_empty());
    // The join is durable, and then the process is killed before anybody was told.
    process.world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!(process.world.stage("seed-1"), SeedStageFossilized);
    rig.read();
    assert!(rig.reports.is_empty());
    process = rig.kill(process, &trainee);
    process.world.manager.flush_telemetry();
    rig.read();
    process = rig.kill(process, &trainee);
    process.world.manager.flush_telemetry();
    rig.read();

    let reports: Vec<_> = rig.reports.values().collect();
    let [report] = reports[..] else { panic!("{reports:?}") };
    assert_eq!((report.outcome(), report.notes.as_str()), (FieldReportOutcome::Success, "fossilized"));
    assert_eq!((report.seed_id.as_str(), report.blueprint_id.as_str()), ("seed-1", "mlp"));
    assert_eq!((report.training_run_id.as_str(), &report.command_id), ("run-7", &fossilize));
    assert!(report.metrics["contribution_mean"] >= 0.0 && report.metrics["alpha"] == 1.0, "{:?}", report.metrics);
    let (accepted, moves) = rig.journal();
    assert_eq!(accepted, script.len());
    let once: BTreeSet<_> = moves.iter().collect();
    // Three seeds are registered; seed-1 alone moves on, each move once.
    assert_eq!(moves.len(), once.len() + 2, "{moves:?}");
}

#[test]
fn command_delivered_twice_is_carried_out_once() {
    let rig = Rig::new();
    let trainee = Trainee::new(determined(Mlp::init()));
    let mut process = rig.start();
    process.world.attach(&trainee.model);
    let wire = process.world.wire("seed-1", Germinate);
    rig.policy.bus().publish(command(wire.clone())).unwrap();
    rig.policy.bus().publish(command(wire)).unwrap();
    let served = process.serve();
    assert_eq!((reasons(&served.answers), served.kept), (vec!["ok", "nonce_replayed"], 0));
    assert_eq!(rig.journal().0, 1);
    assert_eq!(process.inbox.bus().status().counts.acknowledged, 2);
}

#[test]
fn command_that_is_not_durable_waits_for_another_process() {
    let rig = Rig::new();
    let trainee = Trainee::new(determined(Mlp::init()));
    let mut process = rig.start();
    process.world.attach(&trainee.model);
    rig.send(&mut process, Germinate);
    rig.store.fail_next_append();
    let served = process.serve();
    assert_eq!((reasons(&served.answers), served.kept), (vec!["not_durable"], 1));
    process = rig.kill(process, &trainee);
    assert_eq!(process.world.stage("seed-1"), SeedStageDormant);
    let served = process.serve();
    assert_eq!((reasons(&served.answers), served.kept), (vec!["ok"], 0));
    assert_eq!(process.world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn culled_seed_is_reported_with_its_reason() {
    let mut rig = Rig::new();
    let mut trainee = Trainee::new(determined(Mlp::init()));
    let mut process = rig.start();
    process.world.attach(&trainee.model);
    process.world.live(&mut trainee, 20, &[(1, Germinate), (14, Graft(5))]);
    rig.send(&mut process, Cull);
    let id = process.serve().answers.remove(0).unwrap().command;
    process.world.manager.flush_telemetry();
    let names = rig.read();
    assert_eq!(names.iter().filter(|name| *name == "field_report").count(), 1, "{names:?}");
    let report = rig.reports.values().next().unwrap();
    assert_eq!((report.outcome(), report.notes.as_str()), (FieldReportOutcome::Neutral, "command"));
    assert_eq!(report.command_id, id.as_str());
    assert!(report.metrics["alpha"] > 0.0 && report.metrics.contains_key("loss"), "{:?}", report.metrics);
}
