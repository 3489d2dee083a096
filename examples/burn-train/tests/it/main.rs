//! A managed run under a learner, beside the same run in a loop of its own.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::{
    backend::Flex,
    module::{Module, ModuleVisitor, Param},
    optim::AdamWConfig,
    record::{BinFileRecorder, FullPrecisionSettings},
    tensor::{Tensor, backend::Backend},
};
use burn_train::{InferenceStep, Interrupter, Learner, SupervisedTraining, TrainStep, metric::LossMetric};
use kasmina::{Grafts, Grown, SeedManager, Settings, kernel_load::blueprints::Blueprint};
use kasmina_burn_train::{Batch, Components, Host, Managed, Network, Quiet, Run, Train, data, training};

/// 600 steps: `Settings::automatic` fossilises at step 500 at the earliest.
const EPOCHS: usize = 30;
const RATE: f64 = 1e-2;

/// The backend's random numbers are the process's, so one test draws at a time.
static BACKEND: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    BACKEND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host of which a seed with this blueprint becomes part: the start was chosen among five.
fn start() -> Grown<Train, Host<Train>> {
    let device = Default::default();
    <Train as Backend>::seed(&device, 2);
    let model = Grown::new(Host::new(&device));
    // A clone of a lazy parameter draws numbers of its own, so draw them now.
    let _ = bytes(&model);
    model
}

fn manager(model: &Grown<Train, Host<Train>>) -> SeedManager<Train> {
    let device = Default::default();
    let mut manager = SeedManager::<Train>::local(Settings::automatic(), &device).unwrap();
    manager
        .attach_host(model, |host, grafts: &mut Grafts<Train>| host.loss(&data::first_batch(&device), grafts))
        .unwrap();
    manager.plant("mid", Blueprint::Mlp).unwrap();
    manager
}

/// The bytes of all parameters.
fn bytes<M: Module<Train>>(module: &M) -> Vec<Vec<u8>> {
    struct Bytes(Vec<Vec<u8>>);
    impl ModuleVisitor<Train> for Bytes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Train, D>>) {
            self.0.push(param.val().into_data().bytes.to_vec());
        }
    }
    let mut visitor = Bytes(Vec::new());
    module.visit(&mut visitor);
    visitor.0
}

type Training = SupervisedTraining<Components<Managed<Train>>>;
type ManagedLearner = Learner<Components<Managed<Train>>>;

/// The training of a managed host, its run and its interrupter.
fn managed(directory: &tempfile::TempDir, epochs: usize) -> (Training, ManagedLearner, Run, Interrupter) {
    let (model, interrupter) = (start(), Interrupter::new());
    let run = Run::new(manager(&model), interrupter.clone(), data::BATCHES);
    let learner = Learner::new(Managed { model, run: run.clone() }, AdamWConfig::new().init(), RATE);
    (training(directory.path(), epochs, interrupter.clone()), learner, run, interrupter)
}

fn committed_loss(model: &Managed<Flex>) -> f32 {
    InferenceStep::step(model, data::first_batch(&Default::default())).0
}

#[test]
fn a_learner_trains_what_a_loop_of_ones_own_trains() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (training, learner, run, interrupter) = managed(&directory, EPOCHS);
    let trained = training.launch(learner).model;
    assert!(!interrupter.should_stop(), "{:?}", interrupter.get_message());

    let mut model = start();
    let (mut manager, mut optimizer) = (manager(&model), AdamWConfig::new().init());
    let mut moves = Vec::new();
    let loader = data::loader::<Train>();
    for _ in 0..EPOCHS {
        for batch in loader.iter() {
            let forward = |host: &Host<Train>, grafts: &mut Grafts<Train>| host.loss(&batch, grafts);
            let report = manager.train_batch(&mut model, &mut optimizer, RATE, forward).unwrap();
            moves.extend(report.transitions.iter().map(|moved| (report.step, moved.to.as_str_name())));
        }
        manager.end_epoch();
    }
    assert_eq!(run.moves(), moves);
    assert_eq!(moves.last().unwrap().1, "SEED_STAGE_FOSSILIZED");
    assert_eq!(bytes(&trained.train::<Train>().model), bytes(&model));
}

#[test]
fn a_validation_step_sees_the_fossils() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (training, learner, ..) = managed(&directory, EPOCHS);
    let trained = training.launch(learner).model;
    let batch = data::first_batch::<Flex>(&Default::default());
    let (with, without) =
        (committed_loss(&trained), trained.model.host.loss(&batch, &mut Grafts::none()).into_scalar());
    assert!(with < 0.9 * without, "{with} with the fossil, {without} without it");
    let loss = trained.model.forward(|host, grafts| host.loss(&batch, grafts)).unwrap();
    assert_eq!(with, loss.into_scalar());
}

#[test]
fn what_has_grown_trains_on_without_a_manager() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (training, learner, ..) = managed(&directory, EPOCHS);
    let trained = training.launch(learner).model;
    let before = committed_loss(&trained);
    let network = Network { grown: trained.train::<Train>().model };
    let start = bytes(&network);
    let again: SupervisedTraining<Components<Network<Train>>> =
        SupervisedTraining::new(directory.path(), data::loader(), data::loader())
            .num_epochs(5)
            .with_application_logger(None)
            .renderer(Quiet)
            .metric_valid_numeric(LossMetric::<Flex>::new());
    let network = again.launch(Learner::new(network, AdamWConfig::new().init(), RATE)).model;
    let after = InferenceStep::step(&network, data::first_batch(&Default::default())).0;
    assert!(after < before, "{after} after, {before} before");
    let end = bytes(&network.train::<Train>());
    assert_eq!(start.len(), end.len());
    // Host and fossil alike: no parameter is where it was.
    assert!(start.iter().zip(&end).all(|(start, end)| start != end));
}

#[test]
fn a_checkpoint_of_the_learner_has_the_host() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let recorder = BinFileRecorder::<FullPrecisionSettings>::new;
    let (training, learner, ..) = managed(&directory, 2);
    let trained = training.with_file_checkpointer(recorder()).launch(learner).model;
    // All epochs are behind it: what comes out is what was read.
    let (training, learner, ..) = managed(&directory, 2);
    let restored = training.with_file_checkpointer(recorder()).checkpoint(2).launch(learner).model;
    let [trained, restored] = [trained, restored].map(|model| bytes(&model.train::<Train>().model));
    assert_eq!(restored, trained);
    assert_ne!(restored, bytes(&start()));
}

#[test]
fn accumulated_gradients_stop_the_training() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (training, learner, run, interrupter) = managed(&directory, 1);
    let start = bytes(&learner.model().model);
    let trained = training.grads_accumulation(2).launch(learner).model;
    assert!(interrupter.get_message().unwrap().contains("no gradient accumulation"));
    assert_eq!(bytes(&trained.train::<Train>().model), start);
    assert_eq!(run.moves(), []);
}

#[test]
fn a_refused_step_stops_the_training_and_changes_nothing() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (_, mut learner, _, interrupter) = managed(&directory, 1);
    learner.lr_step();
    let mut train = |batch: Batch<Train>| {
        let output = learner.train_step(batch);
        learner.optimizer_step(output.grads);
        (burn_train::ItemLazy::sync(output.item).0, bytes(&learner.model().model))
    };
    let batch = data::first_batch::<Train>(&Default::default());
    let (loss, moved) = train(batch.clone());
    assert!(loss.is_finite() && !interrupter.should_stop());
    let (loss, after) = train(Batch { y: batch.y.clone() * f32::NAN, ..batch.clone() });
    assert!(loss.is_nan());
    assert_eq!(after, moved);
    assert!(interrupter.get_message().unwrap().contains("loss is NaN"));
    assert_ne!(train(batch).1, moved, "the run goes on after it");
}

#[test]
fn a_step_without_its_batch_stops_the_training() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (_, learner, _, interrupter) = managed(&directory, 1);
    let (model, mut optimizer) = (learner.model(), AdamWConfig::new().init::<Train, Managed<Train>>());
    let start = bytes(&model.model);
    let model = model.optimize::<Train, _>(&mut optimizer, RATE, burn::optim::GradientsParams::new());
    assert!(interrupter.should_stop());
    assert_eq!(bytes(&model.model), start);
}
