//! What is acknowledged outlives the process, and what cannot be made durable does not happen.

mod damage;
mod power;
mod telemetry;
mod whole;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{self, B, Mlp, World, bytes, lenient, model_of, optimizer, refused, seed};
use kasmina::{
    Advance, BuildError, CheckpointError, CommandError, SeedManager, Settings,
    commands::{BreakerName, Order},
    doubles::SECRET,
    leyline::{
        SlotId, TrainingRunId,
        v1::{
            CircuitBreakerState::{CircuitStateClosed, CircuitStateOpen},
            SeedLifecycleStage,
            SeedLifecycleStage::*,
            SeedOperation::*,
        },
    },
    rollback::{
        Blobs, Entry, Journal, NoBlobs, NoJournal, StoreError,
        doubles::{MemoryStore, conformance::records},
    },
    safety::Clock,
    security::{CommandVerifier, KeyRing, Secret},
};

/// Every step's weights are in the store.
fn settings() -> Settings {
    let mut settings = lenient();
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
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
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
            world.go_on(&host);
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
    let host = model_of(Mlp::<B>::init());
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
    let host = model_of(Mlp::<B>::init());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.events();
    for (told_then, seconds) in [(&["journal_failed", "command_refused"][..], 1), (&["command_refused"], 2)] {
        store.fail_next_append();
        assert_eq!(refused(world.germinate("seed-1", "mlp")), "not_durable");
        assert_eq!(world.stage("seed-1"), SeedStageDormant);
        assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
        let told: Vec<_> = world.events().into_iter().map(|event| event.description).collect();
        // Nothing of the seed that moved for a moment, or of its gates.
        assert_eq!(told, told_then);
        world.wait(seconds);
    }
    store.fail_next_append();
    let register = world.manager.register_seed(seed("seed-9"), SlotId::new("mid").unwrap());
    assert_eq!(register.unwrap_err().reason(), "not_durable");
    assert_eq!(world.manager.stage(&seed("seed-9")), None);
    // Not tried again before its time.
    let tried = store.appends();
    assert_eq!(refused(world.germinate("seed-1", "mlp")), "not_durable");
    assert_eq!((store.appends(), store.puts()), (tried, 6), "those of the network, and two of each attachment");
    world.wait(4);

    world.germinate("seed-1", "mlp").unwrap();
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageTraining);
}

#[test]
fn a_rejected_command_stays_rejected_where_its_neighbour_cannot_be_made_durable() {
    let store = MemoryStore::new();
    let host = model_of(Mlp::<B>::init());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.events();
    let now = world.clock.unix();
    let honest = world.sender.germinate(&seed("seed-1"), &common::blueprint("mlp"), now).unwrap();
    let stale = world
        .sender
        .germinate(&seed("seed-1"), &common::blueprint("mlp"), now.before(Duration::from_secs(600)))
        .unwrap();
    store.fail_next_append();
    let answers = world.manager.submit_all([honest.as_slice(), &stale]);
    let reasons: Vec<_> = answers.into_iter().map(refused).collect();
    assert_eq!(reasons, ["not_durable", "stale_command"]);
    let mut told: Vec<_> = world.events().into_iter().map(|event| event.description).collect();
    told.sort();
    assert_eq!(told, ["command_refused", "command_rejected", "journal_failed"]);
}

#[test]
fn commands_that_come_together_cost_one_batch() {
    let store = MemoryStore::new();
    let host = model_of(Mlp::<B>::init());
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
    let held = records(&mut store.clone(), 0);
    let batch: Vec<_> = held[held.len() - 12..].iter().map(|record| kind(&record.entry)).collect();
    let commanded = ["nonce", "accepted", "moved", "moved"];
    assert_eq!(batch, [&commanded[..], &commanded, &["nonce", "refused", "delta", "telemetry"]].concat());
}

fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::Accepted { .. } => "accepted",
        Entry::Refused { .. } => "refused",
        Entry::Ordered { .. } => "ordered",
        Entry::Moved { .. } => "moved",
        Entry::NonceSeen { .. } => "nonce",
        Entry::Telemetry { .. } => "telemetry",
        Entry::RolledBack { .. } => "rolled back",
        Entry::Delta { .. } => "delta",
        Entry::Snapshot { .. } => "snapshot",
        Entry::Epoch { .. } => "epoch",
        Entry::EpochDropped { .. } => "epoch dropped",
        Entry::WatermarkReset { .. } => "watermark",
    }
}

#[test]
fn a_policy_moves_no_seed_forward_that_the_journal_does_not_take() {
    let store = MemoryStore::new();
    let mut settings = settings();
    settings.lifecycle.advance =
        Advance::Automatic { training_steps: 5, blending_steps: 0, shadowing_steps: 8, probationary_steps: 8 };
    settings.gates.stability.min_losses = 4;
    settings.blending.total_steps = 5;
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings.clone());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    for at in 1..=4 {
        world.step(&mut host, &mut optimizer, at);
    }
    store.fail_next_append();
    for at in 5..=7 {
        let report = world.step(&mut host, &mut optimizer, at);
        assert_eq!((world.stage("seed-1"), report.transitions.len()), (SeedStageTraining, 0));
    }
    world.wait(1);
    let report = world.step(&mut host, &mut optimizer, 8);
    assert_eq!((world.stage("seed-1"), report.transitions.len()), (SeedStageBlending, 1));
    assert_eq!(self::world(&store, settings).stage("seed-1"), SeedStageBlending);
}

#[test]
fn a_cull_that_saves_the_host_waits_for_no_disk_but_is_told_when_it_is_durable() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    for at in 1..=20 {
        world.step(&mut host, &mut optimizer, at);
    }
    world.graft("seed-1", "CONVEX", 50.0).unwrap();
    world.manager.tamper(&seed("seed-1"), common::spoilt);
    store.fail_next_append();
    let report = world.step(&mut host, &mut optimizer, 21);
    assert_eq!(report.transitions, []);
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageBlending, "the last that was acknowledged");
    world.wait(1);
    let told: Vec<_> = world.manager.tick().into_iter().map(|moved| moved.to).collect();
    assert_eq!(told, [SeedStageCulled, SeedStageEmbargoed]);
    assert_eq!(self::world(&store, settings()).stage("seed-1"), SeedStageEmbargoed);
}

#[test]
fn an_embargo_goes_on_with_what_was_left_of_it() {
    let store = MemoryStore::new();
    let host = model_of(Mlp::<B>::init());
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
    assert!(NoJournal.status().is_err() && NoBlobs.retain(&mut |_| true).is_err());
    assert_eq!(refused(world.operate("seed-1", SeedOpCull)), "not_durable");
}

#[test]
fn a_store_that_holds_a_run_is_recovered_by_that_run_and_never_begun_anew() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&model_of(Mlp::<B>::init()));
    drop(first);
    let build =
        |run: &str| SeedManager::<B>::builder(TrainingRunId::new(run).unwrap()).journal(store.clone(), store.clone());
    let built = build("run-7").build::<B>(&Default::default());
    assert!(matches!(built, Err(BuildError::Checkpoint(CheckpointError::NotEmpty { .. }))));
    let recovered = build("run-8").recover::<B>(&Default::default());
    let wrong = CheckpointError::WrongRun { expected: "run-8".to_owned(), got: "run-7".to_owned() };
    assert!(matches!(recovered, Err(BuildError::Checkpoint(error)) if error == wrong));
}

#[test]
fn a_run_that_was_killed_before_its_first_record_begins_again() {
    let register = |manager: &mut SeedManager<B>| manager.register_seed(seed("seed-1"), SlotId::new("mid").unwrap());
    for recovers in [true, false] {
        let store = MemoryStore::new();
        register(&mut world(&store, settings()).manager).unwrap();
        store.tear_tail();
        assert_eq!(store.clone().status(), Ok(1..1));
        let run = TrainingRunId::new("run-7").unwrap();
        let builder = SeedManager::<B>::builder(run).journal(store.clone(), store.clone());
        let device = Default::default();
        let mut manager = if recovers { builder.recover(&device).unwrap().0 } else { builder.build(&device).unwrap() };
        register(&mut manager).unwrap();
    }
}

#[test]
fn weights_that_no_record_names_are_swept() {
    let store = MemoryStore::new();
    let host = model_of(Mlp::<B>::init());
    let mut first = world(&store, settings());
    first.attach(&host);
    let network = store.digests();
    first.germinate("seed-1", "mlp").unwrap();
    assert_eq!(store.digests().len(), network.len() + 2);
    // Killed between the weights and the batch that would have named them.
    store.tear_tail();
    std::mem::forget(first);
    let mut second = world(&store, settings());
    assert_eq!(second.stage("seed-1"), SeedStageDormant);
    assert_eq!(store.digests(), network);
    second.go_on(&host);
    second.germinate("seed-1", "mlp").unwrap();
    assert_eq!(world(&store, settings()).stage("seed-1"), SeedStageTraining);
}

#[test]
fn full_journal_volume_leaves_no_weights_on_the_other() {
    let (journal, blobs) = (MemoryStore::new(), MemoryStore::new());
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let (mut world, _) = World::recover(settings(), journal.clone(), blobs.clone());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    world.step(&mut host, &mut optimizer, 1);
    let (held, mut tried) = (blobs.digests(), 0);
    for at in 2..=51 {
        let before = journal.appends();
        journal.fail_next_append();
        world.step(&mut host, &mut optimizer, at);
        tried += journal.appends() - before;
        world.wait(2);
    }
    assert!(tried > 4, "{tried}");
    assert_eq!(blobs.digests(), held);
}

#[test]
fn journal_that_refuses_has_no_weights_encoded() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    world.step(&mut host, &mut optimizer, 1);
    let (calls, puts) = (store.appends(), store.puts());
    store.refuse_with(Some(StoreError::Unusable { path: "journal".into() }));
    for at in 2..=20 {
        world.step(&mut host, &mut optimizer, at);
        assert_eq!(refused(world.operate("seed-1", SeedOpCull)), "not_durable");
        world.wait(100);
    }
    assert_eq!((store.appends(), store.puts(), world.stage("seed-1")), (calls, puts, SeedStageTraining));
    store.refuse_with(None);
    world.step(&mut host, &mut optimizer, 21);
    assert_eq!((store.appends(), store.puts()), (calls + 1, puts + 2));
}

#[test]
fn orders_that_move_no_seed_write_no_weights() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, lenient());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    for at in 1..=20 {
        world.step(&mut host, &mut optimizer, at);
    }
    assert_eq!(store.puts(), 4, "those of the network, and of the attachment");
    for order in [
        Order::Pause { seed: seed("seed-1") },
        Order::Resume { seed: seed("seed-1") },
        Order::Optimizer { seed: seed("seed-1"), lr_scale: 0.5 },
        Order::CircuitBreaker { breaker: BreakerName::Kernels, state: CircuitStateOpen },
        Order::CircuitBreaker { breaker: BreakerName::Kernels, state: CircuitStateClosed },
    ] {
        let appends = store.appends();
        world.manager.order(order).unwrap();
        assert_eq!((store.appends(), store.puts()), (appends + 1, 4));
    }
    world.graft("seed-1", "CONVEX", 50.0).unwrap();
    assert_eq!(store.puts(), 6, "those that G2 judged");
}

#[test]
fn automatic_run_keeps_journal_and_weights_bounded() {
    let (store, mut settings) = (MemoryStore::new(), settings());
    settings.training.probe_every = 1000;
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut world = world(&store, settings.clone());
    world.attach(&host);
    world
        .manager
        .order(Order::Germinate {
            seed: seed("seed-1"),
            blueprint: common::blueprint("mlp"),
            tier: None,
            parameters: std::collections::BTreeMap::new(),
            lr_scale: 1.0,
        })
        .unwrap();
    let (mut longest, mut most) = (0, 0);
    for at in 1..=6_000 {
        world.step(&mut host, &mut optimizer, at);
        let held = store.status().unwrap();
        (longest, most) = (longest.max(held.end - held.start), most.max(store.digests().len()));
    }
    assert!((4_000..5_000).contains(&longest), "{longest} records");
    assert!(most < 300, "{most} blobs");
    let world = self::world(&store, settings);
    assert_eq!((world.stage("seed-1"), world.manager.step()), (SeedStageTraining, 6_000));
}

#[test]
fn steps_without_a_learning_seed_are_counted_by_the_next_process() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut first = world(&store, settings());
    first.attach(&host);
    for at in 1..=7 {
        first.step(&mut host, &mut optimizer, at);
    }
    first.manager.end_epoch();
    first.manager.checkpoint(&host, &optimizer).unwrap();
    drop(first);
    let (second, found) = World::recover(settings(), store.clone(), store);
    assert_eq!((found.step, second.manager.step(), second.manager.state().run.epoch), (7, 7, 1));
}

#[test]
fn a_start_that_writes_nothing_ends_no_embargo_early() {
    let store = MemoryStore::new();
    let host = model_of(Mlp::<B>::init());
    let mut first = world(&store, settings());
    first.wait(1_000);
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    first.operate("seed-1", SeedOpCull).unwrap();
    drop(first);
    store.fail_next_append();
    let mut second = world(&store, settings());
    second.wait(10);
    second.manager.register_seed(seed("seed-8"), SlotId::new("mid").unwrap()).unwrap();
    drop(second);
    let (mut third, found) = World::recover(settings(), store.clone(), store);
    assert_eq!(found.incarnation, 2);
    third.wait(19);
    assert_eq!(third.manager.tick(), []);
    third.wait(11);
    assert_eq!(third.manager.tick().len(), 2);
}

#[test]
fn what_a_compacted_journal_has_forgotten_is_not_obeyed_again() {
    let store = MemoryStore::new();
    let mut world = world(&store, settings());
    world.attach(&model_of(Mlp::<B>::init()));
    world.germinate("seed-1", "mlp").unwrap();
    let send = |world: &mut World, count: usize| {
        let now = world.clock.unix();
        let wires: Vec<_> = (0..count).map(|n| world.sender.pause(&seed("seed-1"), n % 2 == 1, now).unwrap()).collect();
        let answers = world.manager.submit_all(wires.iter().map(Vec::as_slice));
        assert!(answers.iter().all(Result::is_ok));
        wires
    };
    let old = send(&mut world, 2_200);
    // The records before the older of two snapshots can go; this makes for the second.
    send(&mut world, 2_200);
    let recent = world.clock.unix();
    let later = Duration::from_secs(301);
    world.clock.advance(later);
    // A forged command alone makes nobody forget.
    world.clock.set_unix(recent.after(later));
    assert_eq!(refused(world.manager.submit(b"forged")), "malformed");
    assert_eq!(store.status().unwrap().start, 1);
    world.manager.register_seed(seed("seed-8"), SlotId::new("mid").unwrap()).unwrap();
    assert!(store.status().unwrap().start > 4_400);
    let mut between = self::world(&store, settings());
    between.clock.set_unix(recent);
    assert_eq!(refused(between.manager.submit(&old[0])), "stale_command");
    drop(between);
    let new = send(&mut world, 2);
    let held = store.status().unwrap();
    assert!(held.start > 4_400, "{held:?}");

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
fn watermark_that_was_reset_stays_so_when_nonces_of_a_clock_that_was_ahead_are_forgotten() {
    let store = MemoryStore::new();
    let mut world = World::recover(lenient(), store.clone(), store.clone()).0;
    world.attach(&model_of(Mlp::<B>::init()));
    let right = world.clock.unix();
    world.clock.set_unix(right.after(Duration::from_secs(365 * 86_400)));
    world.germinate("seed-1", "mlp").unwrap();
    // The clock is set right, and an operator resets the watermark.
    world.clock.set_unix(right);
    store.clone().append(&[Entry::WatermarkReset { at: right }]).unwrap();
    world.restart(lenient(), &store);
    for minutes in 1..20 {
        world.clock.advance(Duration::from_secs(60));
        world.clock.set_unix(right.after(Duration::from_secs(60 * minutes)));
        let wire = world.sender.pause(&seed("seed-1"), minutes % 2 == 0, world.clock.unix()).unwrap();
        let answer = world.manager.submit(&wire);
        assert!(!matches!(answer, Err(CommandError::Rejected(_))), "after {minutes} minutes: {answer:?}");
    }
}

#[test]
fn watermark_that_was_reset_in_a_running_process_stays_so_after_a_restart() {
    let store = MemoryStore::new();
    let keys = KeyRing::of("k1", Secret::new(SECRET).unwrap());
    let verifier = Arc::new(Mutex::new(CommandVerifier::new(keys)));
    let mut world = World::build(lenient(), |builder| {
        let builder = builder.verifier(Arc::clone(&verifier)).journal(store.clone(), store.clone());
        builder.build(&Default::default()).unwrap()
    });
    world.attach(&model_of(Mlp::<B>::init()));
    let right = world.clock.unix();
    world.clock.set_unix(right.after(Duration::from_secs(365 * 86_400)));
    world.germinate("seed-1", "mlp").unwrap();
    // The clock is set right, and an operator resets the watermark at once.
    world.clock.set_unix(right);
    verifier.lock().unwrap().reset_watermark(right);
    for minutes in 1..30 {
        if minutes == 15 {
            world.restart(lenient(), &store);
        }
        world.clock.advance(Duration::from_secs(60));
        let wire = world.sender.pause(&seed("seed-1"), minutes % 2 == 0, world.clock.unix()).unwrap();
        let answer = world.manager.submit(&wire);
        assert!(!matches!(answer, Err(CommandError::Rejected(_))), "after {minutes} minutes: {answer:?}");
    }
}

#[test]
fn command_before_the_host_was_shown_culls_no_seed() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut first = world(&store, settings());
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    first.germinate("seed-2", "late").unwrap();
    (1..=20).for_each(|at| drop(first.step(&mut host, &mut optimizer, at)));
    first.graft("seed-1", "RESIDUAL", 5.0).unwrap();
    let wire = first.sender.pause(&seed("seed-2"), false, first.clock.unix()).unwrap();
    first.manager.submit(&wire).unwrap();
    (21..=30).for_each(|at| drop(first.step(&mut host, &mut optimizer, at)));
    drop(first);

    let mut second = world(&store, settings());
    second.clock.set_unix(second.clock.unix().after(Duration::from_secs(100)));
    let resume = |world: &mut World| {
        let wire = world.sender.pause(&seed("seed-2"), true, world.clock.unix()).unwrap();
        world.manager.submit(&wire)
    };
    assert_eq!(refused(second.operate("seed-1", SeedOpStabilize)), "not_measured");
    assert_eq!(refused(resume(&mut second)), "not_measured");
    assert_eq!((second.stage("seed-1"), second.stage("seed-2")), (SeedStageBlending, SeedStageTraining));
    second.go_on(&host);
    second.operate("seed-1", SeedOpStabilize).unwrap();
    resume(&mut second).unwrap();
    assert_eq!(second.stage("seed-1"), SeedStageShadowing);
}

#[test]
fn command_answered_not_durable_is_not_obeyed_by_a_later_process() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&model_of(Mlp::<B>::init()));
    let wire = first.wire("seed-1", kasmina::doubles::Act::Germinate);
    store.fail_next_append();
    assert_eq!(refused(first.manager.submit(&wire)), "not_durable");
    assert_eq!(refused(first.manager.submit(&wire)), "nonce_replayed");
    // The disk works again, and something else is written.
    first.wait(2);
    first.manager.register_seed(seed("another"), SlotId::new("mid").unwrap()).unwrap();
    drop(first);
    let mut second = world(&store, settings());
    assert_eq!(refused(second.manager.submit(&wire)), "nonce_replayed");
    assert_eq!(second.stage("seed-1"), SeedStageDormant);
}
