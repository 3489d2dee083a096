//! Checkpoints, rollbacks and restarts that come at an unlucky moment.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer},
};
use kasmina::{
    CheckpointError, Grafts, Grown, ModelError,
    doubles::{Act::*, Trainee},
    engine::commands::Order,
    leyline::v1::SeedLifecycleStage::*,
    rollback::doubles::MemoryStore,
};

use super::{Model, NOTHING, blank, on, proven, with_running_statistics};
use crate::common::{B, Cnn, Mlp, RATE, World, bytes, determined, lenient, loss, model_of, optimizer, seed};

#[test]
fn join_right_after_an_epochs_checkpoint_outlives_a_kill() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let mut trainee = proven(&mut world, 39);
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    // Before the next batch, so that the checkpoint of the epoch and that of the join are of the same step.
    world.act("seed-1", Fossilize).unwrap();
    world.step(&mut trainee.model, &mut trainee.optimizer, 40);
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
    world.restart(lenient(), &store);
    let mut back = blank();
    let restored = world.manager.restore_model(&mut back.model, &mut back.optimizer).unwrap();
    assert_eq!((restored.step, restored.optimizer, back.model.fossils().len()), (39, true, 1));
    world.step(&mut back.model, &mut back.optimizer, 40);
}

#[test]
fn removal_right_after_a_checkpoint_outlives_a_kill() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    world.manager.settle(&mut trainee.model).unwrap();
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    world.manager.order(Order::Terminate { seed: seed("seed-1") }).unwrap();
    world.step(&mut trainee.model, &mut trainee.optimizer, 40);
    world.restart(lenient(), &store);
    let mut back = blank();
    world.manager.restore_model(&mut back.model, &mut back.optimizer).unwrap();
    world.step(&mut back.model, &mut back.optimizer, 40);
    assert!(back.model.fossils().is_empty());
}

#[test]
fn restored_model_that_is_about_to_grow_is_not_saved() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let trainee = proven(&mut world, 39);
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    world.act("seed-1", Fossilize).unwrap();
    world.restart(lenient(), &store);
    let mut back = blank();
    world.manager.restore_model(&mut back.model, &mut back.optimizer).unwrap();
    assert!(world.manager.state().joining().next().is_some());
    assert_eq!(back.model.to_bytes().map(drop).map_err(|error| error.reason()), Err("join_pending"));

    world.restart(lenient(), &store);
    let kept: Model = Grown::new(trainee.model.host.clone());
    world.manager.model_restored(&kept, 39).unwrap();
    assert_eq!(kept.to_bytes().map(drop).map_err(|error| error.reason()), Err("join_pending"));
}

#[test]
fn join_that_was_undone_before_its_report_is_not_reported() {
    let mut world = on(&MemoryStore::new());
    let mut trainee = proven(&mut world, 39);
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    world.act("seed-1", Fossilize).unwrap();
    let nan = |host: &Mlp<B>, grafts: &mut Grafts<B>| loss(host, 40, grafts) * f32::NAN;
    world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, nan).unwrap_err();
    assert_eq!(trainee.model.fossils().len(), 1);
    world.manager.roll_back_to(None, &mut trainee.model, &mut trainee.optimizer).unwrap();
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, 40);
    assert_eq!((report.joined, trainee.model.fossils().len()), (Vec::new(), 0));
}

#[test]
fn checkpoint_before_the_model_is_restored_is_refused() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    drop(proven(&mut world, 20));
    world.restart(lenient(), &store);
    let state = kasmina::ModelState::of(&blank().model, &blank().optimizer, &Default::default());
    assert_eq!(world.manager.checkpoint_with(&state), Err(CheckpointError::Model(ModelError::NotRestored)));
    assert!(world.manager.epochs().is_empty());
}

#[test]
fn rollback_from_memory_is_what_a_restart_comes_back_with() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let mut trainee = proven(&mut world, 39);
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    world.act("seed-1", Fossilize).unwrap();
    world.live(&mut trainee, 45, &NOTHING);
    // The same epoch again; only memory has this one.
    store.fail_next_put();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap_err();
    let expected = bytes(&trainee.model);
    world.wait(60);
    world.live(&mut trainee, 50, &NOTHING);
    let back = world.manager.roll_back_to(Some(1), &mut trainee.model, &mut trainee.optimizer).unwrap();
    assert_eq!((back.step, trainee.model.fossils().len()), (45, 1));
    assert!(bytes(&trainee.model) == expected);
    world.restart(lenient(), &store);
    let mut back = blank();
    world.manager.restore_model(&mut back.model, &mut back.optimizer).unwrap();
    assert!(bytes(&back.model) == expected);
    world.step(&mut back.model, &mut back.optimizer, 46);
}

#[test]
fn absurd_step_of_a_restored_model_does_not_panic() {
    let mut world = on(&MemoryStore::new());
    let mut model = model_of(determined(Mlp::init()));
    world.attach(&model);
    world.manager.model_restored(&model, u64::MAX).unwrap();
    world.step(&mut model, &mut optimizer(), 1);
}

/// Counts how often its state is asked for.
#[derive(Clone)]
struct Counted<O>(O, Arc<AtomicU32>);

impl<M: AutodiffModule<B>, O: Optimizer<M, B>> Optimizer<M, B> for Counted<O> {
    type Record = O::Record;

    fn step(&mut self, rate: LearningRate, module: M, gradients: GradientsParams) -> M {
        self.0.step(rate, module, gradients)
    }

    fn step_multi(&mut self, rate: LearningRate, module: M, gradients: MultiGradientsParams) -> M {
        self.0.step_multi(rate, module, gradients)
    }

    fn to_record(&self) -> Self::Record {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.to_record()
    }

    fn load_record(self, record: Self::Record) -> Self {
        Self(self.0.load_record(record), self.1)
    }
}

#[test]
fn network_is_not_encoded_while_the_disk_refuses() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let mut counted = Counted(trainee.optimizer.clone(), Arc::clone(&asked));
    store.fail_next_append();
    for at in 40..=50 {
        world.step(&mut trainee.model, &mut counted, at);
    }
    assert_eq!(trainee.model.fossils().len(), 0, "it is not asked again before its time");
    let times = asked.load(Ordering::Relaxed);
    assert!(times <= 1, "encoded {times} times");
    world.wait(60);
    assert_eq!(world.step(&mut trainee.model, &mut counted, 51).joined.len(), 1);
    // It was part of the model after step 50, and not after the step of the verdict.
    assert_eq!(trainee.model.fossils()[0].spec().provenance.step, Some(50));
}

#[test]
fn rollback_with_another_optimizer_says_what_is_wrong() {
    let mut world = World::new(lenient());
    let mut trainee = proven(&mut world, 5);
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    let mut sgd = burn::optim::SgdConfig::new().init();
    let error = world.manager.roll_back_to(None, &mut trainee.model, &mut sgd).unwrap_err().to_string();
    assert!(!error.contains("there are checkpoints of [1]"), "{error}");
}

#[test]
fn fossil_behind_running_statistics_goes_on_bit_for_bit() {
    for keep_in_memory in [0, 2] {
        let store = MemoryStore::new();
        let mut settings = lenient();
        settings.rollback.keep_in_memory = keep_in_memory;
        let (mut world, _) = World::recover(settings.clone(), store.clone(), store.clone());
        let mut trainee = with_running_statistics(&mut world);
        world.manager.end_epoch();
        world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
        world.live(&mut trainee, 50, &NOTHING);
        let expected = bytes(&trainee.model);
        world.manager.order(Order::Terminate { seed: seed("seed-1") }).unwrap();
        world.live(&mut trainee, 52, &NOTHING);
        assert!(trainee.model.fossils().is_empty());
        world.manager.roll_back_to(None, &mut trainee.model, &mut trainee.optimizer).unwrap();
        trainee.step = 45;
        world.live(&mut trainee, 50, &NOTHING);
        assert!(bytes(&trainee.model) == expected, "rolled back, {keep_in_memory} in memory");

        world.restart(settings, &store);
        let mut back = Trainee::new(Cnn::<B>::init());
        let restored = world.manager.restore_model(&mut back.model, &mut back.optimizer).unwrap();
        assert_eq!((restored.step, restored.optimizer), (45, true));
        world.manager.attach_host(&back.model, |host, grafts| loss(host, 0, grafts)).unwrap();
        back.step = 45;
        world.live(&mut back, 50, &NOTHING);
        assert!(bytes(&back.model) == expected, "restored");
    }
}
