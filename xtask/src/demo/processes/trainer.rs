//! The process that trains: Tolaria's part. It goes on from the newest epoch when it is started again.

use std::{error::Error, sync::Arc, thread};

use burn::{module::AutodiffModule, optim::AdamWConfig, tensor::backend::Backend};
use kasmina::{
    CommandError, Grown, SeedManager, Validation,
    commands::Order,
    kernel_load::{Digest, DirectoryLibrary, DirectoryReader},
    leyline::{
        SlotId,
        v1::{BusMessageType, SeedLifecycleStage, SystemStatePacket},
    },
    rollback::Store,
    security::{CommandVerifier, KeyRing},
    telemetry::doubles::MemorySink,
};
use kasmina_dispatch::{BusSink, FieldReportSink, Inbox};
use kasmina_oona::{Bus, Message, RedisBus};
use kasmina_urza::OonaKernels;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::{
    reader::{Moves, moves},
    story::{A_MOMENT, PATIENCE, Story, join, secret},
};
use crate::{
    demo::{
        hosts::{Mlp, SLOT},
        plan::BATCH,
        task::{B, accuracy, batch, bytes, loss, whole},
    },
    digits::shuffle,
    stopwatch::Stopwatch,
};

/// How a run has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::demo) struct Outcome {
    /// SHA-256 of all parameters: the host's and those of its fossils.
    pub(in crate::demo) digest: String,
    pub(in crate::demo) stage: String,
    /// On the test images, 0 to 1.
    pub(in crate::demo) accuracy: f64,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) step: u64,
    pub(super) epoch: u64,
    pub(super) stage: String,
    /// Whether it waits for an order.
    pub(super) waits: bool,
}

/// Where orders come from.
trait Orders {
    /// Takes what nobody has waited for, such as an order that was given twice.
    fn take(&mut self, manager: &mut SeedManager<B>) -> Result<(), Box<dyn Error>>;

    /// Has the order that is due carried out. Returns when it has been answered, whatever the answer.
    fn carry_out(&mut self, order: Order, manager: &mut SeedManager<B>) -> Result<(), Box<dyn Error>>;
}

/// The run in one process: orders are given on the spot, kernels are read from the directory. Returns the moves too.
pub(super) fn alone(story: &Story, show: &dyn Fn(&Place)) -> Result<(Outcome, Moves), Box<dyn Error>> {
    struct OnTheSpot;
    impl Orders for OnTheSpot {
        fn take(&mut self, _: &mut SeedManager<B>) -> Result<(), Box<dyn Error>> {
            Ok(())
        }

        fn carry_out(&mut self, order: Order, manager: &mut SeedManager<B>) -> Result<(), Box<dyn Error>> {
            // A refusal is part of the story.
            let _ = manager.order(order);
            Ok(())
        }
    }
    let packets = MemorySink::default();
    let manager = SeedManager::<B>::builder(story.run.clone())
        .settings(story.settings())
        .kernels(DirectoryLibrary::open(story.kernels())?)
        .sink(packets.clone())
        .volatile()
        .build(&Default::default())?;
    let outcome = train(story, manager, &mut OnTheSpot, show)?;
    let moves = packets.take().iter().flat_map(moves).collect();
    Ok((outcome, moves))
}

/// The run that takes its orders and kernels from the bus, and outlives its process.
pub(super) fn over(address: &str, story: &Story, show: &dyn Fn(&Place)) -> Result<Outcome, Box<dyn Error>> {
    let bus = join(address, Some(Inbox::subscription(&story.run, "trainer")))?;
    let kernels = join(address, Some(OonaKernels::subscription("trainer")))?;
    let kernels = OonaKernels::new(kernels, DirectoryLibrary::open(story.kernels())?);
    let (manager, _) = SeedManager::<B>::builder(story.run.clone())
        .settings(story.settings())
        .verifier(CommandVerifier::new(KeyRing::of("demo", secret()?)))
        .kernels_over(kernels, DirectoryReader::new(story.kernels()))
        .sink(BusSink::new(Arc::clone(&bus)))
        .sink(FieldReportSink::new(Arc::clone(&bus)))
        .store(Store::open(story.directory.join("store"))?)
        .recover(&Default::default())?;
    let mut orders = FromTheBus { inbox: Inbox::new(Arc::clone(&bus)), bus: Arc::clone(&bus), story, show };
    let outcome = train(story, manager, &mut orders, show);
    bus.flush(PATIENCE)?;
    outcome
}

struct FromTheBus<'s> {
    inbox: Inbox,
    bus: Arc<RedisBus>,
    story: &'s Story,
    show: &'s dyn Fn(&Place),
}

impl FromTheBus<'_> {
    /// Carries out the commands that have come, and returns how many.
    fn serve(&mut self, manager: &mut SeedManager<B>) -> Result<usize, Box<dyn Error>> {
        let is_final = |answer: &Result<_, CommandError>| {
            answer.as_ref().err().is_none_or(|error| error.reason() != "not_durable")
        };
        Ok(self.inbox.serve(|wires| manager.submit_all(wires), is_final)?.answers.len())
    }
}

impl Orders for FromTheBus<'_> {
    fn take(&mut self, manager: &mut SeedManager<B>) -> Result<(), Box<dyn Error>> {
        self.serve(manager).map(drop)
    }

    /// Says where the run is until somebody orders something.
    fn carry_out(&mut self, order: Order, manager: &mut SeedManager<B>) -> Result<(), Box<dyn Error>> {
        let waiting = Stopwatch::start();
        let mut said = None;
        while waiting.elapsed() < PATIENCE {
            if said.is_none_or(|at: u128| waiting.elapsed().as_millis() > at + 200) {
                (self.show)(&place(self.story, manager, true));
                // If the bus has no room, the state is said again.
                let _ = self.bus.publish(state(self.story, manager));
                said = Some(waiting.elapsed().as_millis());
            }
            if self.serve(manager)? > 0 {
                return Ok(());
            }
            thread::sleep(A_MOMENT);
        }
        Err(format!("nobody ordered {order:?}").into())
    }
}

/// What a trainer tells a policy.
fn state(story: &Story, manager: &SeedManager<B>) -> Message {
    let packet = SystemStatePacket {
        version: 1,
        global_step: manager.step(),
        current_epoch: u32::try_from(manager.step() / story.steps_per_epoch()).unwrap_or(u32::MAX),
        seed_states: manager.export_seed_states(),
        source_subsystem: "tolaria".to_owned(),
        training_run_id: story.run.to_string(),
        ..SystemStatePacket::default()
    };
    Message::new(BusMessageType::SystemState, packet.encode_to_vec())
}

fn place(story: &Story, manager: &SeedManager<B>, waits: bool) -> Place {
    let stage = manager.stage(&story.seed).unwrap_or_default();
    let stage = stage.as_str_name().trim_start_matches("SEED_STAGE_").to_owned();
    Place { step: manager.step(), epoch: manager.step() / story.steps_per_epoch(), stage, waits }
}

fn train(
    story: &Story,
    mut manager: SeedManager<B>,
    orders: &mut dyn Orders,
    show: &dyn Fn(&Place),
) -> Result<Outcome, Box<dyn Error>> {
    let Story { plan, images, seed, .. } = story;
    let device = Default::default();
    B::seed(&device, story.random_seed);
    let mut model = Grown::new(Mlp::<B>::init(&device));
    let mut optimizer = AdamWConfig::new().init();
    // Seeds can be ahead of the newest network. Both go back to the newest epoch, and the run is the one that it would have been.
    if manager.epochs().is_empty() {
        manager.restore_model(&mut model, &mut optimizer)?;
    } else {
        manager.roll_back_to(None, &mut model, &mut optimizer)?;
    }
    manager.attach_host(&model, |host, grafts| loss(host, &batch(&images.train, &[0]), grafts))?;
    if manager.stage(seed).is_none() {
        manager.register_seed(seed.clone(), SlotId::new(SLOT)?)?;
    }

    let per_epoch = story.steps_per_epoch();
    let validation = whole(&images.validation);
    let mut order: Vec<usize> = (0..images.train.labels.len()).collect();
    for epoch in 0..plan.epochs {
        // Each epoch shuffles what the one before it left, also for a run that does not begin here.
        shuffle(&mut order, story.random_seed.wrapping_mul(1_000).wrapping_add(epoch));
        if manager.step() >= (epoch + 1) * per_epoch {
            continue;
        }
        for chunk in order.chunks(BATCH) {
            orders.take(&mut manager)?;
            let stage = manager.stage(seed).unwrap_or(SeedLifecycleStage::SeedStageUnknown);
            if let Some(due) = story.order(stage, manager.step()) {
                orders.carry_out(due, &mut manager)?;
            }
            let batch = batch(&images.train, chunk);
            manager.train_batch(&mut model, &mut optimizer, plan.learning_rate, |host, grafts| {
                loss(host, &batch, grafts)
            })?;
        }
        manager.end_epoch();
        let committed = model.valid();
        manager.report_validation(vec![Validation {
            name: "validation_accuracy".to_owned(),
            host: accuracy(&committed.host, &validation, committed.grafts()),
            live: accuracy(&committed.host, &validation, manager.live_view(&model)),
            higher_is_better: true,
        }]);
        manager.checkpoint(&model, &optimizer)?;
        show(&place(story, &manager, false));
    }
    let stage = place(story, &manager, false).stage;
    model.save(story.directory.join("grown.safetensors"))?;
    let digest = Digest::of(&bytes(&model)).to_string();
    let committed = model.valid();
    Ok(Outcome { digest, stage, accuracy: accuracy(&committed.host, &whole(&images.test), committed.grafts()) })
}
