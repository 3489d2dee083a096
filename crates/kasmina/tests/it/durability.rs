//! What is acknowledged outlives the process, and what cannot be made durable does not happen.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::common::{self, B, Mlp, World, bytes, determined, optimizer, refused, seed};
use kasmina::{
    Advance, BuildError, CheckpointError, SeedManager, Settings,
    leyline::{
        SlotId, TrainingRunId,
        v1::{SeedLifecycleStage, SeedLifecycleStage::*, SeedOperation::*, TelemetryLevel, TelemetryPacket},
    },
    rollback::{CheckpointStore, Entry, Journal, NoCheckpoints, NoJournal, Record, StoreError, doubles::MemoryStore},
    safety::Clock,
    telemetry::{Sink, SinkError, doubles::MemorySink},
};

/// Every step's weights are in the store.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.rollback.checkpoint_every = 1;
    settings
}

fn world(store: &MemoryStore, settings: Settings) -> World {
    World::recover(settings, store.clone(), store.clone()).0
}

/// A seed's stage, its alpha and what it exports.
type Portrait = (SeedLifecycleStage, Option<f32>, Vec<f32>);

/// What the seeds are, apart from how long things took.
fn portrait(world: &World) -> Vec<Portrait> {
    let of = |name| {
        let grafts = world.manager.export_seed_states();
        let state = grafts.into_iter().find(|state| state.seed_id == name).unwrap();
        let numbers = [state.gradient_norm, state.learning_rate].into_iter().chain(state.metrics.into_values());
        (world.stage(name), world.manager.alpha(&seed(name)).map(|alpha| alpha.get()), numbers.collect())
    };
    ["seed-1", "seed-2", "seed-3"].map(of).into()
}

/// One thing that happens in a life, at each of 120 steps or none.
fn command(world: &mut World, at: u64) {
    match at {
        3 => drop(world.germinate("seed-1", "mlp").unwrap()),
        10 => drop(world.germinate("seed-2", "late").unwrap()),
        30 => drop(world.graft("seed-1", "RESIDUAL", 20.0).unwrap()),
        40 => drop(world.operate("seed-2", SeedOpCull).unwrap()),
        55 => drop(world.operate("seed-1", SeedOpStabilize).unwrap()),
        75 => drop(world.operate("seed-1", SeedOpEvaluate).unwrap()),
        95 => drop(world.operate("seed-1", SeedOpFossilize).unwrap()),
        _ => {}
    }
}

/// The host after 120 steps, with a crash behind every `every`th.
fn run(every: u64) -> (Vec<u8>, Vec<Portrait>) {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (determined(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings());
    world.attach(&host);
    for at in 1..=120 {
        command(&mut world, at);
        world.step(&mut host, &mut optimizer, at);
        if at.is_multiple_of(every) {
            let (before, clock) = (portrait(&world), world.clock.clone());
            let sender = std::mem::replace(&mut world.sender, common::sender());
            world = self::world(&store, settings());
            // The sender has not been killed.
            world.clock.set_unix(clock.unix());
            world.sender = sender;
            world.manager.attach_host(&host, |host, grafts| common::loss(host, 0, grafts)).unwrap();
            assert_eq!(portrait(&world), before, "after step {at}");
        }
    }
    (bytes(&host), portrait(&world))
}

#[test]
fn a_run_that_is_killed_behind_every_step_is_the_run_that_never_was() {
    let undisturbed = run(1000);
    assert_eq!(undisturbed.1[0].0, SeedStageFossilized);
    assert_eq!(undisturbed.1[1].0, SeedStageEmbargoed);
    assert!(run(1) == undisturbed, "killed behind every step");
    assert!(run(7) == undisturbed, "killed behind every seventh step");
}

#[test]
fn no_command_that_was_answered_is_obeyed_by_the_next_process() {
    let store = MemoryStore::new();
    let host = determined(Mlp::<B>::init());
    let mut first = world(&store, settings());
    first.attach(&host);
    let now = first.clock.unix();
    let obeyed = first.sender.germinate(&seed("seed-1"), &common::blueprint("mlp"), now).unwrap();
    let refused_once = first.sender.operate(&seed("seed-1"), SeedOpFossilize, [], [], now).unwrap();
    first.manager.submit(&obeyed).unwrap();
    assert_eq!(refused(first.manager.submit(&refused_once)), "illegal_transition");
    drop(first);

    let mut second = world(&store, settings());
    for wire in [&obeyed, &refused_once] {
        assert_eq!(refused(second.manager.submit(wire)), "nonce_replayed");
    }
    assert_eq!(second.stage("seed-1"), SeedStageTraining);
}

#[test]
fn what_cannot_be_made_durable_does_not_happen() {
    let store = MemoryStore::new();
    let host = determined(Mlp::<B>::init());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.events();
    for told_then in [&["journal_failed", "command_refused"][..], &["command_refused"]] {
        store.fail_next();
        assert_eq!(refused(world.germinate("seed-1", "mlp")), "not_durable");
        assert_eq!(world.stage("seed-1"), SeedStageDormant);
        assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
        let told: Vec<_> = world.events().into_iter().map(|event| event.description).collect();
        // Nothing of the seed that moved for a moment, or of its gates.
        assert_eq!(told, told_then);
    }
    store.fail_next();
    let register = world.manager.register_seed(seed("seed-9"), SlotId::new("mid").unwrap());
    assert_eq!(register.unwrap_err().reason(), "not_durable");
    assert_eq!(world.manager.stage(&seed("seed-9")), None);

    world.germinate("seed-1", "mlp").unwrap();
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageTraining);
}

#[test]
fn a_rejected_command_stays_rejected_where_its_neighbour_cannot_be_made_durable() {
    let store = MemoryStore::new();
    let host = determined(Mlp::<B>::init());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.events();
    let now = world.clock.unix();
    let honest = world.sender.germinate(&seed("seed-1"), &common::blueprint("mlp"), now).unwrap();
    let stale = world.sender.germinate(&seed("seed-1"), &common::blueprint("mlp"), now.before(MINUTES)).unwrap();
    store.fail_next();
    let answers = world.manager.submit_all([honest.as_slice(), &stale]);
    let reasons: Vec<_> = answers.into_iter().map(refused).collect();
    assert_eq!(reasons, ["not_durable", "stale_command"]);
    let mut told: Vec<_> = world.events().into_iter().map(|event| event.description).collect();
    told.sort();
    assert_eq!(told, ["command_refused", "command_rejected", "journal_failed"]);
}

const MINUTES: std::time::Duration = std::time::Duration::from_secs(600);

#[test]
fn commands_that_come_together_cost_one_batch() {
    let store = MemoryStore::new();
    let host = determined(Mlp::<B>::init());
    let mut world = world(&store, settings());
    world.attach(&host);
    let now = world.clock.unix();
    let wires: Vec<_> = [("seed-1", "mlp"), ("seed-2", "late"), ("seed-3", "mlp")]
        .into_iter()
        .map(|(name, kernel)| world.sender.germinate(&seed(name), &common::blueprint(kernel), now).unwrap())
        .collect();
    let before = store.appends();
    let answers = world.manager.submit_all(wires.iter().map(Vec::as_slice));
    assert_eq!(store.appends(), before + 1);
    let moves: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|receipt| receipt.transitions.len())).collect();
    // The first tells of the registrations too; the slot of the third is taken.
    assert!(matches!(moves[..], [Ok(5), Ok(2), Err(_)]), "{moves:?}");
    let entries: Vec<_> = store.clone().read(0).unwrap().into_iter().map(|record| record.entry).collect();
    let batch: Vec<_> = entries[entries.len() - 12..].iter().map(kind).collect();
    let commanded = ["nonce", "accepted", "transition", "transition"];
    assert_eq!(batch, [&commanded[..], &commanded, &["nonce", "refused", "checkpoint", "telemetry"]].concat());
}

fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::CommandAccepted { .. } => "accepted",
        Entry::CommandRefused { .. } => "refused",
        Entry::Transition { .. } => "transition",
        Entry::NonceSeen { .. } => "nonce",
        Entry::Telemetry { .. } => "telemetry",
        Entry::RolledBack { .. } => "rolled back",
        Entry::Checkpoint { .. } => "checkpoint",
    }
}

#[test]
fn a_policy_moves_no_seed_forward_that_the_journal_does_not_take() {
    let store = MemoryStore::new();
    let mut settings = settings();
    settings.lifecycle.advance = Advance::Automatic { training_steps: 5, shadowing_steps: 8, probationary_steps: 8 };
    settings.gates.stability.min_losses = 4;
    settings.blending.total_steps = 5;
    let (mut host, mut optimizer) = (determined(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings.clone());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    for at in 1..=4 {
        world.step(&mut host, &mut optimizer, at);
    }
    for at in 5..=7 {
        store.fail_next();
        let report = world.step(&mut host, &mut optimizer, at);
        assert_eq!((world.stage("seed-1"), report.transitions.len()), (SeedStageTraining, 0));
    }
    let report = world.step(&mut host, &mut optimizer, 8);
    assert_eq!((world.stage("seed-1"), report.transitions.len()), (SeedStageBlending, 1));
    assert_eq!(self::world(&store, settings).stage("seed-1"), SeedStageBlending);
}

#[test]
fn a_cull_that_saves_the_host_waits_for_no_disk_but_is_told_when_it_is_durable() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (determined(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    for at in 1..=20 {
        world.step(&mut host, &mut optimizer, at);
    }
    world.graft("seed-1", "CONVEX", 50.0).unwrap();
    world.manager.tamper(&seed("seed-1"), common::spoilt);
    store.fail_next();
    let report = world.step(&mut host, &mut optimizer, 21);
    assert_eq!(report.transitions, []);
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageBlending, "the last that was acknowledged");
    let told: Vec<_> = world.manager.tick().into_iter().map(|moved| moved.to).collect();
    assert_eq!(told, [SeedStageCulled, SeedStageEmbargoed]);
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageEmbargoed);
}

#[test]
fn an_embargo_goes_on_with_what_was_left_of_it() {
    let store = MemoryStore::new();
    let host = determined(Mlp::<B>::init());
    let mut first = world(&store, settings());
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    first.operate("seed-1", SeedOpCull).unwrap();
    first.wait(12);
    first.manager.register_seed(seed("seed-8"), SlotId::new("mid").unwrap()).unwrap();
    drop(first);

    let mut second = world(&store, settings());
    second.wait(17);
    assert!(second.manager.tick().is_empty());
    second.wait(1);
    let moved: Vec<_> = second.manager.tick().into_iter().map(|moved| moved.to).collect();
    assert_eq!(moved, [SeedStageResetting, SeedStageDormant]);
}

#[test]
fn without_a_journal_nothing_is_acknowledged() {
    let mut world = World::build(settings(), |builder| builder.build(&Default::default()).unwrap());
    let register = world.manager.register_seed(seed("seed-1"), SlotId::new("mid").unwrap());
    assert_eq!(
        register.unwrap_err().to_string(),
        "not carried out, because it could not be made durable: no journal is wired"
    );
    assert_eq!(refused(world.germinate("seed-1", "mlp")), "not_durable");
    let (mut world, found) = (world, NoJournal.read(0));
    assert!(found.is_err() && NoCheckpoints.retain(&mut |_| true).is_err());
    assert_eq!(refused(world.operate("seed-1", SeedOpCull)), "not_durable");
}

#[test]
fn a_store_that_holds_a_run_is_recovered_by_that_run_and_never_begun_anew() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&determined(Mlp::<B>::init()));
    drop(first);
    let build =
        |run: &str| SeedManager::<B>::builder(TrainingRunId::new(run).unwrap()).journal(store.clone(), store.clone());
    let built = build("run-7").build::<B>(&Default::default());
    assert!(matches!(built, Err(BuildError::Checkpoint(CheckpointError::NotEmpty { records: 6 }))));
    let recovered = build("run-8").recover::<B>(&Default::default());
    let wrong = CheckpointError::WrongRun { expected: "run-8".to_owned(), got: "run-7".to_owned() };
    assert!(matches!(recovered, Err(BuildError::Checkpoint(error)) if error == wrong));
}

#[test]
fn a_damaged_checkpoint_is_named_and_nothing_is_made_up() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&determined(Mlp::<B>::init()));
    drop(first);
    let newest = store.clone().retain(&mut |_| true).unwrap().pop().unwrap();
    store.damage(&newest.id, "state");
    let run = TrainingRunId::new("run-7").unwrap();
    let recovered = SeedManager::<B>::builder(run).journal(store.clone(), store).recover::<B>(&Default::default());
    let Err(BuildError::Checkpoint(error)) = recovered else { panic!("recovered") };
    assert_eq!(error.reason(), "corrupt_blob");
}

#[test]
fn a_run_that_was_killed_before_its_first_record_begins_again() {
    let register = |manager: &mut SeedManager<B>| manager.register_seed(seed("seed-1"), SlotId::new("mid").unwrap());
    for recovers in [true, false] {
        let store = MemoryStore::new();
        register(&mut world(&store, settings()).manager).unwrap();
        // Killed between the first checkpoint and the batch that would have named it.
        store.tear_tail();
        assert_eq!((store.clone().read(0).unwrap().len(), store.clone().retain(&mut |_| true).unwrap().len()), (0, 1));
        let run = TrainingRunId::new("run-7").unwrap();
        let builder = SeedManager::<B>::builder(run).journal(store.clone(), store.clone());
        let device = Default::default();
        let mut manager = if recovers { builder.recover(&device).unwrap().0 } else { builder.build(&device).unwrap() };
        register(&mut manager).unwrap();
    }
}

#[test]
fn a_checkpoint_that_no_record_names_was_never_acknowledged() {
    let store = MemoryStore::new();
    let host = determined(Mlp::<B>::init());
    let mut first = world(&store, settings());
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    // Killed between the checkpoint and the batch that would have named it.
    store.tear_tail();
    drop(first);
    let mut second = world(&store, settings());
    assert_eq!(second.stage("seed-1"), SeedStageDormant);
    assert_eq!(store.clone().retain(&mut |_| true).unwrap().len(), 2);
    second.manager.attach_host(&host, |host, grafts| common::loss(host, 0, grafts)).unwrap();
    second.germinate("seed-1", "mlp").unwrap();
    assert_eq!(world(&store, settings()).stage("seed-1"), SeedStageTraining);
}

/// Takes packets when it is told to.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>, MemorySink);

impl Sink for Switch {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        if self.0.load(Relaxed) {
            return self.1.deliver(packet);
        }
        Err(SinkError { sink: "switch", source: "off".into() })
    }
}

#[test]
fn a_critical_event_that_nobody_took_is_told_by_the_next_process() {
    let (store, switch) = (MemoryStore::new(), Switch::default());
    let build = |pending| {
        let mut settings = settings();
        settings.telemetry.pending_packets = pending;
        World::build(settings, |builder| {
            let builder = builder.sink(switch.clone()).journal(store.clone(), store.clone());
            builder.recover(&Default::default()).unwrap().0
        })
    };
    let critical = |packets: Vec<TelemetryPacket>| -> Vec<String> {
        let ids = packets.into_iter().filter(|packet| packet.level == TelemetryLevel::Critical as i32);
        ids.map(|packet| packet.packet_id).collect()
    };
    let mut first = build(2);
    first.attach(&determined(Mlp::<B>::init()));
    let mut told = Vec::new();
    for _ in 0..7 {
        assert_eq!(refused(first.manager.submit(b"forged")), "malformed");
        first.manager.flush_telemetry();
        told.extend(critical(first.sink.take()));
    }
    assert_eq!(told.len(), 7);
    drop(first);

    let mut second = build(1000);
    second.manager.flush_telemetry();
    assert!(critical(switch.1.take()).is_empty());
    drop(second);

    let mut third = build(1000);
    switch.0.store(true, Relaxed);
    third.manager.flush_telemetry();
    let arrived = switch.1.take();
    assert_eq!(critical(arrived.clone()), told);
    let ids: std::collections::BTreeSet<_> = arrived.iter().map(|packet| &packet.packet_id).collect();
    assert_eq!(ids.len(), arrived.len(), "packets of two processes share an id");
    // Delivered, they are not told again.
    third.manager.register_seed(seed("seed-9"), SlotId::new("mid").unwrap()).unwrap();
    drop(third);
    build(1000).manager.flush_telemetry();
    assert!(critical(switch.1.take()).is_empty());
}

#[test]
fn a_sink_that_comes_back_gets_what_went_to_the_journal() {
    let (store, switch) = (MemoryStore::new(), Switch::default());
    let mut settings = settings();
    settings.telemetry.pending_packets = 3;
    let mut world = World::build(settings, |builder| {
        let builder = builder.sink(switch.clone()).journal(store.clone(), store.clone());
        builder.recover(&Default::default()).unwrap().0
    });
    for _ in 0..20 {
        assert_eq!(refused(world.manager.submit(b"forged")), "malformed");
        world.manager.flush_telemetry();
    }
    switch.0.store(true, Relaxed);
    world.manager.flush_telemetry();
    let rejected = |packets: Vec<TelemetryPacket>| {
        packets.iter().flat_map(|packet| &packet.events).filter(|event| event.description == "command_rejected").count()
    };
    assert_eq!(rejected(switch.1.take()), 20);
}

#[test]
fn what_is_critical_about_an_answer_outlives_a_process_that_told_nobody() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&determined(Mlp::<B>::init()));
    first.germinate("seed-1", "mlp").unwrap();
    assert_eq!(refused(first.germinate("seed-3", "mlp")), "slot_taken");
    let sink = first.sink.clone();
    // Killed: nothing is flushed that a drop would flush.
    std::mem::forget(first);
    assert!(sink.take().is_empty());

    let mut second = world(&store, settings());
    let told: Vec<_> = second.events().into_iter().map(|event| event.description).collect();
    assert!(told.contains(&"gate_failure".to_owned()), "{told:?}");
    second.manager.register_seed(seed("seed-9"), SlotId::new("mid").unwrap()).unwrap();
    drop(second);
    // It is not told again once a checkpoint knows that it was.
    let mut third = world(&store, settings());
    assert!(!third.events().into_iter().any(|event| event.description == "gate_failure"));
}

#[test]
fn a_checkpoint_whose_record_the_journal_refused_is_in_nobodys_way() {
    let store = MemoryStore::new();
    let mut world = world(&store, settings());
    world.manager.attach_host(&determined(Mlp::<B>::init()), |host, grafts| common::loss(host, 0, grafts)).unwrap();
    for _ in 0..3 {
        store.fail_next_append();
        let register = world.manager.register_seed(seed("seed-1"), SlotId::new("mid").unwrap());
        assert_eq!(register.unwrap_err().reason(), "not_durable");
    }
    assert_eq!(store.clone().retain(&mut |_| true).unwrap().len(), 3);
    std::mem::forget(world);
    // The first record of all was never written.
    let mut world = self::world(&store, settings());
    world.attach(&determined(Mlp::<B>::init()));
    world.germinate("seed-1", "mlp").unwrap();
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageTraining);
    assert_eq!(store.clone().retain(&mut |_| true).unwrap().len(), 2);
}

#[test]
fn a_journal_that_takes_nothing_any_more_fills_no_disk() {
    let store = MemoryStore::new();
    let mut world =
        World::build(settings(), |builder| builder.journal(Gone, store.clone()).build(&Default::default()).unwrap());
    for _ in 0..5 {
        assert_eq!(refused(world.germinate("seed-1", "mlp")), "not_durable");
    }
    assert!(store.clone().retain(&mut |_| true).unwrap().is_empty());
}

/// A journal whose last sync failed.
struct Gone;

impl Journal for Gone {
    fn append(&mut self, _: &[Entry]) -> Result<std::ops::Range<u64>, StoreError> {
        Err(StoreError::Unusable { path: "journal".into() })
    }

    fn read(&mut self, _: u64) -> Result<Vec<Record>, StoreError> {
        Ok(Vec::new())
    }

    fn compact(&mut self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn what_a_compacted_journal_has_forgotten_is_not_obeyed_again() {
    let store = MemoryStore::new();
    let mut world = world(&store, settings());
    world.attach(&determined(Mlp::<B>::init()));
    world.germinate("seed-1", "mlp").unwrap();
    let send = |world: &mut World, count: usize| {
        let now = world.clock.unix();
        let wires: Vec<_> = (0..count).map(|n| world.sender.pause(&seed("seed-1"), n % 2 == 1, now).unwrap()).collect();
        let answers = world.manager.submit_all(wires.iter().map(Vec::as_slice));
        assert!(answers.iter().all(Result::is_ok));
        wires
    };
    let old = send(&mut world, 2_200);
    let recent = world.clock.unix();
    let later = std::time::Duration::from_secs(301);
    world.clock.advance(later);
    // A forged command alone makes nobody forget.
    world.clock.set_unix(recent.after(later));
    assert_eq!(refused(world.manager.submit(b"forged")), "malformed");
    world.manager.register_seed(seed("seed-8"), SlotId::new("mid").unwrap()).unwrap();
    assert!(store.clone().read(0).unwrap().len() > 4_400);
    let new = send(&mut world, 2);
    let held = store.clone().read(0).unwrap();
    assert!(held.len() < 20, "{}", held.len());

    // The wall clock goes back to when the old commands were fresh.
    let mut second = self::world(&store, settings());
    second.clock.set_unix(recent);
    for (wire, reason) in [(&old[0], "stale_command"), (&old[2_199], "stale_command"), (&new[0], "issued_in_future")] {
        assert_eq!(refused(second.manager.submit(wire)), reason);
    }
    second.clock.set_unix(recent.after(later));
    assert_eq!(refused(second.manager.submit(&new[0])), "nonce_replayed");
}

#[test]
fn packets_of_two_processes_that_could_not_write_are_told_apart() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&determined(Mlp::<B>::init()));
    drop(first);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        store.fail_next();
        let mut world = world(&store, settings());
        world.manager.flush_telemetry();
        for packet in world.sink.take() {
            assert!(ids.insert(packet.packet_id.clone()), "{} twice", packet.packet_id);
        }
    }
    assert!(ids.len() >= 3);
}
