//! Going back: the run goes on as if what was undone had never been, bit for bit.

use std::{collections::BTreeMap, time::Duration};

use crate::common::{self, B, Cnn, Host, Mlp, Noisy, World, bytes, model_of, optimizer, refused, seed};
use burn::optim::{AdamW, adaptor::OptimizerAdaptor};
use kasmina::{
    CheckpointError, CommandError, Grown, Receipt, Settings, StepError, TrainerState,
    grown::HostModule,
    leyline::{
        SlotId,
        v1::{SeedLifecycleStage::*, SeedOperation::*},
    },
    rollback::{
        Entry, FAST_ROLLBACK, FULL_ROLLBACK,
        doubles::{MemoryStore, conformance::records},
    },
    safety::{Clock, doubles::ManualClock},
};

type OptimizerOf<M> = OptimizerAdaptor<AdamW, M, B>;

/// A run with epochs of ten batches.
struct Run<M: Host<B> + HostModule<B>> {
    world: World,
    host: Grown<B, M>,
    optimizer: OptimizerOf<Grown<B, M>>,
    kernel: &'static str,
}

impl<M: Host<B> + HostModule<B> + 'static> Run<M> {
    fn on(store: &MemoryStore, host: Grown<B, M>, kernel: &'static str) -> Self {
        let mut world = World::recover(Settings::default(), store.clone(), store.clone()).0;
        world.attach(&host);
        Self { world, host, optimizer: optimizer(), kernel }
    }

    /// Trains the batches of these steps; the commands and the ends of epochs that go with them come as they do.
    fn train(&mut self, steps: std::ops::RangeInclusive<u64>) {
        for at in steps {
            match at {
                2 => drop(self.world.germinate("seed-1", self.kernel).unwrap()),
                14 => drop(self.world.graft("seed-1", "RESIDUAL", 12.0).unwrap()),
                28 => drop(self.world.operate("seed-1", SeedOpStabilize).unwrap()),
                45 => drop(self.world.operate("seed-1", SeedOpEvaluate).unwrap()),
                _ => {}
            }
            self.world.step(&mut self.host, &mut self.optimizer, at);
            if at.is_multiple_of(10) {
                self.world.manager.end_epoch();
                self.world.manager.checkpoint(&self.host, &self.optimizer).unwrap();
            }
        }
    }

    fn command(&mut self, epoch: u64) -> Result<Receipt, CommandError> {
        let wire = self.world.sender.roll_back(epoch, self.world.clock.unix()).unwrap();
        self.world.manager.submit(&wire)
    }

    fn roll_back(&mut self) -> Result<kasmina::RolledBack, CheckpointError> {
        self.world.manager.roll_back(&mut self.host, &mut self.optimizer)
    }

    /// The host's bytes, what the seeds are, and the loss with the first of them.
    fn portrait(&self) -> (Vec<u8>, String, Vec<f32>) {
        let mut grafts = self.world.manager.seed_view(&self.host, &seed("seed-1"));
        let loss = common::loss(&common::twin(&self.host), 77, &mut grafts).into_data().to_vec().unwrap();
        (bytes(&self.host), format!("{:?}", self.world.manager.export_seed_states()), loss)
    }
}

fn continues_bit_for_bit<M: Host<B> + HostModule<B> + 'static>(fresh: fn() -> M, kernel: &'static str) {
    let host = model_of(fresh());
    let store = MemoryStore::new();
    let mut undisturbed = Run::on(&MemoryStore::new(), common::twin(&host), kernel);
    undisturbed.train(1..=40);

    let mut run = Run::on(&store, host, kernel);
    run.train(1..=37);
    // What is to be undone: a step that the other run never took, and a seed that it never culled.
    run.world.step(&mut run.host, &mut run.optimizer, 999);
    run.world.operate("seed-1", SeedOpCull).unwrap();
    run.command(2).unwrap();
    let fast = run.roll_back().unwrap();
    assert_eq!((fast.epoch, fast.step, fast.timing.sla), (2, 20, FAST_ROLLBACK));
    assert_eq!(fast.seeds, BTreeMap::from([(seed("seed-1"), (SeedStageEmbargoed, SeedStageBlending))]));
    run.train(21..=40);
    assert!(run.portrait() == undisturbed.portrait(), "from memory");

    // Another process, whose host begins anywhere.
    run.world.step(&mut run.host, &mut run.optimizer, 999);
    drop(run);
    let (mut world, found) = World::recover(Settings::default(), store.clone(), store);
    assert_eq!((found.epochs, found.grafted), (vec![2, 3, 4], 1));
    let other = model_of(fresh());
    let refused = world.manager.attach_host(&other, |host, grafts| common::loss(host, 0, grafts));
    assert_eq!(refused.unwrap_err().reason(), "model_not_restored");
    world.clock.advance(Duration::from_secs(1));
    world.clock.set_unix(world.clock.unix().after(Duration::from_secs(1)));
    let mut run = Run { world, host: other, optimizer: optimizer(), kernel };
    run.command(3).unwrap();
    let full = run.roll_back().unwrap();
    assert_eq!((full.epoch, full.step, full.timing.sla), (3, 30, FULL_ROLLBACK));
    run.world.manager.attach_host(&run.host, |host, grafts| common::loss(host, 0, grafts)).unwrap();
    run.train(31..=40);
    assert!(run.portrait() == undisturbed.portrait(), "from the store");
}

#[test]
fn an_mlp_continues_bit_for_bit() {
    continues_bit_for_bit(Mlp::<B>::init, "mlp");
}

#[test]
fn a_host_with_running_statistics_continues_bit_for_bit() {
    continues_bit_for_bit(Cnn::<B>::init, "cnn");
}

#[test]
fn between_the_command_and_the_rollback_nothing_is_trained() {
    let store = MemoryStore::new();
    let mut run = Run::on(&store, model_of(Mlp::<B>::init()), "mlp");
    assert_eq!(run.roll_back().unwrap_err(), CheckpointError::NotCommanded);
    run.train(1..=15);
    assert_eq!(refused(run.command(7)), "unknown_checkpoint");
    run.command(1).unwrap();
    let before = run.portrait();
    let step = run
        .world
        .manager
        .train_batch(&mut run.host, &mut run.optimizer, 1e-2, |host, grafts| common::loss(host, 16, grafts));
    assert_eq!(step.unwrap_err(), StepError::RollbackPending { epoch: 1 });
    assert_eq!(refused(run.world.operate("seed-1", SeedOpCull)), "rollback_pending");
    assert!(run.portrait() == before);

    // It is not forgotten with the process.
    drop(run);
    let (mut world, _) = World::recover(Settings::default(), store.clone(), store.clone());
    assert_eq!(world.manager.rollback_commanded(), Some(1));
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    world.manager.roll_back(&mut host, &mut optimizer).unwrap();
    assert_eq!((world.stage("seed-1"), world.manager.rollback_commanded()), (SeedStageTraining, None));
    drop(world);
    let (world, found) = World::recover(Settings::default(), store.clone(), store.clone());
    assert_eq!((world.stage("seed-1"), found.epochs), (SeedStageTraining, vec![1]));
    let entries = records(&mut store.clone(), 0);
    assert!(entries.iter().any(|record| record.entry == Entry::RolledBack { seed_id: None, epoch: 1 }));
}

#[test]
fn a_rollback_that_cannot_be_made_durable_leaves_everything_as_it_is() {
    let store = MemoryStore::new();
    let mut run = Run::on(&store, model_of(Mlp::<B>::init()), "mlp");
    run.train(1..=15);
    run.command(1).unwrap();
    let before = run.portrait();
    store.fail_next_append();
    assert_eq!(run.roll_back().unwrap_err().reason(), "disk_full");
    assert!(run.portrait() == before);
    run.world.wait(1);
    assert_eq!(run.roll_back().unwrap().step, 10);
    assert_eq!(run.world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn a_seed_goes_back_alone_and_its_host_notices_nothing() {
    let mut control = Run::on(&MemoryStore::new(), model_of(Mlp::<B>::init()), "mlp");
    control.host = model_of(Mlp::<B>::init());
    let host = common::twin(&control.host);
    let mut run = Run::on(&MemoryStore::new(), host, "mlp");
    control.train(1..=35);
    run.train(1..=20);
    let then = run.world.manager.export_seed_states();
    run.train(21..=35);
    assert_eq!(run.world.stage("seed-1"), SeedStageShadowing);
    let wire = run.world.sender.roll_back_seed(&seed("seed-1"), Some(2), run.world.clock.unix()).unwrap();
    run.world.manager.submit(&wire).unwrap();
    assert_eq!(run.world.manager.export_seed_states()[0].metrics, then[0].metrics);
    assert_eq!((run.world.stage("seed-1"), run.world.manager.step()), (SeedStageBlending, 35));
    assert!(bytes(&run.host) == bytes(&control.host));
    run.world.step(&mut run.host, &mut run.optimizer, 36);
    control.world.step(&mut control.host, &mut control.optimizer, 36);
    assert!(bytes(&run.host) == bytes(&control.host));
}

#[test]
fn only_what_was_grafted_then_and_is_now_goes_back() {
    let mut run = Run::on(&MemoryStore::new(), model_of(Mlp::<B>::init()), "mlp");
    let back = |run: &mut Run<Mlp<B>>, name: &str, epoch| {
        let wire = run.world.sender.roll_back_seed(&seed(name), epoch, run.world.clock.unix()).unwrap();
        refused(run.world.manager.submit(&wire))
    };
    assert_eq!(back(&mut run, "seed-1", None), "wrong_stage");
    assert_eq!(back(&mut run, "nobody", None), "unknown_seed");
    run.train(1..=5);
    assert_eq!(back(&mut run, "seed-1", None), "unknown_checkpoint");
    run.train(6..=12);
    run.world.germinate("seed-2", "late").unwrap();
    assert_eq!(back(&mut run, "seed-2", None), "wrong_stage");
    assert_eq!(back(&mut run, "seed-1", Some(9)), "unknown_checkpoint");
    // Culled and grafted anew, it is another graft: going back must not lift an embargo.
    run.world.operate("seed-1", SeedOpCull).unwrap();
    assert_eq!(back(&mut run, "seed-1", Some(1)), "wrong_stage");
    run.world.wait(30);
    run.world.manager.tick();
    run.world.germinate("seed-1", "mlp").unwrap();
    assert_eq!(back(&mut run, "seed-1", Some(1)), "wrong_stage");
    assert_eq!(refused(run.command(u64::MAX)), "malformed_command");
    let empty = kasmina::leyline::v1::AdaptationCommand {
        command_type: kasmina::leyline::v1::CommandType::CommandRollback.into(),
        ..Default::default()
    };
    let wire = run.world.sender.send(empty, run.world.clock.unix()).unwrap();
    assert_eq!(refused(run.world.manager.submit(&wire)), "malformed_command");
}

#[test]
fn trainer_that_comes_back_gets_its_model_and_seeds() {
    let store = MemoryStore::new();
    let mut run = Run::on(&store, model_of(Noisy::<B>::init()), "mlp");
    run.train(1..=20);
    let (host, step) = (bytes(&run.host), run.world.manager.step());
    run.train(21..=29);
    drop(run);
    let (mut world, _) = World::recover(Settings::default(), store.clone(), store);
    let (mut host_again, mut optimizer) = (model_of(Noisy::<B>::init()), optimizer());
    // Another architecture is rejected, and is as it was.
    let (mut other, mut its_optimizer) = (model_of(Cnn::<B>::init()), common::optimizer());
    let before = bytes(&other);
    let mismatch = world.manager.restore_model(&mut other, &mut its_optimizer).unwrap_err();
    assert_eq!(mismatch.reason(), "checkpoint_mismatch");
    assert!(bytes(&other) == before);

    let restored = world.manager.restore_model(&mut host_again, &mut optimizer).unwrap();
    assert_eq!((restored.step, restored.optimizer), (step, true));
    assert!(bytes(&host_again) == host);
    assert_eq!(world.stage("seed-1"), SeedStageShadowing);
}

#[test]
fn as_many_checkpoints_are_kept_as_the_settings_say() {
    let store = MemoryStore::new();
    let mut settings = Settings::default();
    (settings.rollback.keep_in_memory, settings.rollback.keep_in_store) = (1, 2);
    let (mut world, _) = World::recover(settings, store.clone(), store.clone());
    let (host, optimizer) = (model_of(Mlp::<B>::init()), optimizer::<Grown<B, Mlp<B>>>());
    for _ in 0..5 {
        world.manager.end_epoch();
        world.manager.checkpoint(&host, &optimizer).unwrap();
        world.manager.checkpoint(&host, &optimizer).unwrap();
    }
    assert_eq!(world.manager.epochs(), [4, 5]);
    // The host and its optimizer are the same in both.
    assert_eq!(store.digests().len(), 3, "host, fossils and optimizer");
    let ready: Vec<_> = world.events().into_iter().filter(|event| event.description == "rollback_ready").collect();
    assert_eq!((ready.len(), ready[9].attributes["epoch"].as_str()), (10, "5"));
}

/// A trainer of its own kind, to whom every copy takes a while.
struct Slow(ManualClock, Vec<u8>);

impl TrainerState for Slow {
    fn snapshot(&self) -> Self {
        self.0.advance(Duration::from_millis(501));
        Self(self.0.clone(), self.1.clone())
    }

    fn to_parts(&self) -> Result<BTreeMap<String, Vec<u8>>, CheckpointError> {
        Ok([("place in the data".to_owned(), self.1.clone())].into())
    }

    fn take_parts(&mut self, parts: &BTreeMap<String, Vec<u8>>) -> Result<(), CheckpointError> {
        self.1.clone_from(&parts["place in the data"]);
        Ok(())
    }
}

#[test]
fn a_rollback_over_its_budget_is_told() {
    let store = MemoryStore::new();
    let (mut world, _) = World::recover(Settings::default(), store.clone(), store);
    world.manager.register_seed(seed("seed-1"), SlotId::new("mid").unwrap()).unwrap();
    let mut trainer = Slow(world.clock.clone(), vec![7]);
    world.manager.checkpoint_with(&trainer).unwrap();
    trainer.1 = vec![8, 8];
    let wire = world.sender.roll_back(0, world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    world.events();
    let back = world.manager.roll_back_with(&mut trainer).unwrap();
    assert_eq!((trainer.1, back.timing.took), (vec![7], Duration::from_millis(501)));
    assert_eq!(back.timing.breach, Some(Duration::from_millis(1)));
    world.manager.flush_telemetry();
    let packets = world.sink.take();
    let events: Vec<_> = packets.iter().flat_map(|packet| &packet.events).collect();
    let breach = events.iter().find(|event| event.description == "deadline_violation").unwrap();
    assert_eq!((breach.attributes["path"].as_str(), breach.attributes["late_ms"].as_str()), ("fast", "1"));
    let back = events.iter().find(|event| event.description == "rolled_back").unwrap();
    assert_eq!((back.attributes["epoch"].as_str(), back.attributes["step"].as_str()), ("0", "0"));
    let latency = packets.iter().flat_map(|packet| &packet.metrics);
    let latency = latency.clone().find(|metric| metric.name == "kasmina.rollback.latency_ms").unwrap();
    assert_eq!((latency.value, latency.attributes["path"].as_str()), (501.0, "fast"));
}

#[test]
fn a_rollback_that_memory_alone_could_do_dies_with_the_process_and_not_with_the_run() {
    let store = MemoryStore::new();
    let mut settings = Settings::default();
    settings.rollback.keep_in_store = 0;
    let (mut world, _) = World::recover(settings.clone(), store.clone(), store.clone());
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    world.attach(&host);
    world.manager.checkpoint(&host, &optimizer).unwrap();
    let command = |world: &mut World| {
        let wire = world.sender.roll_back(0, world.clock.unix()).unwrap();
        world.manager.submit(&wire).unwrap();
    };
    command(&mut world);
    // What is to be gone back to is not pushed out by what is to be undone.
    let checkpoint = world.manager.checkpoint(&host, &optimizer);
    assert_eq!(checkpoint.unwrap_err(), CheckpointError::RollbackPending { epoch: 0 });
    assert_eq!(world.manager.abandon_rollback(), Ok(Some(0)));
    assert_eq!(world.manager.abandon_rollback(), Ok(None));
    world.step(&mut host, &mut optimizer, 1);
    command(&mut world);
    drop(world);
    let (mut world, found) = World::recover(settings, store.clone(), store);
    assert_eq!((found.abandoned_rollback, world.manager.rollback_commanded()), (Some(0), None));
    let told = world.events().into_iter().find(|event| event.description == "recovered").unwrap();
    assert_eq!(told.attributes["abandoned_rollback"], "0");
    world.go_on(&host);
    world.step(&mut host, &mut optimizer, 2);
}

#[test]
fn a_seed_that_was_registered_since_is_dormant_after_a_rollback() {
    let mut run = Run::on(&MemoryStore::new(), model_of(Mlp::<B>::init()), "mlp");
    run.train(1..=10);
    run.world.manager.register_seed(seed("seed-9"), SlotId::new("late").unwrap()).unwrap();
    run.world.germinate("seed-9", "late").unwrap();
    run.command(1).unwrap();
    let back = run.roll_back().unwrap();
    assert_eq!(back.seeds[&seed("seed-9")], (SeedStageTraining, SeedStageDormant));
    run.world.germinate("seed-9", "late").unwrap();
}
