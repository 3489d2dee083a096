//! One network, twice from the same start and on the same batches: once in plain Burn, once with a seed.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    path::Path,
    time::Duration,
};

use burn::{
    backend::Flex,
    module::AutodiffModule,
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::backend::Backend,
};
use kasmina::{
    Grafts, Grown, Refusal, SeedManager, Validation,
    commands::Order,
    engine,
    grown::HostModule,
    kernel_load::{DirectoryLibrary, Initialisation, Manifest, initialise},
    leyline::{
        BlueprintId, SeedId, SlotId, TrainingRunId,
        v1::{BlueprintDescriptor, BlueprintTier, TelemetryEvent},
    },
    telemetry::{JsonLinesSink, TfEventsSink, doubles::MemorySink},
};
use serde::Serialize;

use super::{
    hosts::{Host, SLOT},
    plan::{BATCH, Plan},
    task::{B, accuracy, batch, bytes, loss, steps_per_epoch, whole},
};
use crate::{
    digits::{Split, shuffle},
    progress::Progress,
    stopwatch::Stopwatch,
};

/// What happened to one network.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    /// Accuracy on the test images after each epoch, 0 to 1.
    pub(crate) control: Vec<f64>,
    /// The same with the seed, as the live view has it.
    pub(crate) grown: Vec<f64>,
    /// Alpha after each epoch.
    pub(crate) alpha: Vec<f64>,
    pub(crate) stages: Vec<Moved>,
    pub(crate) verdicts: Vec<Judged>,
    /// The last step after which host and control were the same, byte for byte.
    pub(crate) identical_until_step: u64,
    /// The mean time of a step in each stage over that of the control's steps.
    pub(crate) step_time_ratios: BTreeMap<String, f64>,
    /// The mean time of the control's steps, in milliseconds.
    pub(crate) control_step_ms: f64,
}

/// A stage was entered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moved {
    pub(crate) stage: String,
    pub(crate) step: u64,
    pub(crate) epoch: f64,
    /// Since the run's start.
    pub(crate) seconds: f64,
}

/// A gate has spoken.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) gate: String,
    pub(crate) passed: bool,
    pub(crate) reason: String,
    pub(crate) step: u64,
    pub(crate) epoch: f64,
}

/// All images: to learn from, to show to G4, to judge by at the end.
pub(crate) struct Images {
    pub(crate) train: Split,
    pub(crate) validation: Split,
    pub(crate) test: Split,
}

/// Trains `init`'s network from `seed`, with and without growth.
pub(crate) fn run<H>(
    plan: &Plan,
    init: impl Fn(&<B as burn::tensor::backend::BackendTypes>::Device) -> H,
    seed: u64,
    Images { train, validation, test }: &Images,
    directory: &Path,
    progress: &Progress,
) -> Result<Run, Box<dyn Error>>
where
    H: Host<B> + HostModule<B>,
    H::InnerModule: Host<Flex>,
{
    let device = Default::default();
    B::seed(&device, seed);
    let mut model = Grown::new(init(&device));
    // Every parameter is drawn before anything else is.
    bytes(&model);
    let mut control = H::from_inner(model.host.valid());
    let (mut optimizer, mut control_optimizer) = (AdamWConfig::new().init(), AdamWConfig::new().init());
    let mut world = World::new(plan, seed, directory)?;
    world.manager.attach_host(&model, |host, grafts| loss(host, &batch(train, &[0]), grafts))?;
    world.manager.register_seed(world.seed.clone(), SlotId::new(SLOT)?)?;

    let mut order: Vec<usize> = (0..train.labels.len()).collect();
    let steps_per_epoch = steps_per_epoch(train);
    let (validation, test) = (whole(validation), whole(test));
    let mut log = Log::new(seed, plan);
    for epoch in 0..plan.epochs {
        world.order(plan, epoch, steps_per_epoch, progress);
        shuffle(&mut order, seed.wrapping_mul(1_000).wrapping_add(epoch));
        for chunk in order.chunks(BATCH) {
            let batch = batch(train, chunk);
            let timer = Stopwatch::start();
            let gradients = loss(&control, &batch, &mut Grafts::none()).backward();
            let gradients = GradientsParams::from_grads(gradients, &control);
            control = control_optimizer.step(plan.learning_rate, control, gradients);
            log.time("control", timer.elapsed());

            let stage = world.stage();
            let timer = Stopwatch::start();
            let report =
                world.manager.train_batch(&mut model, &mut optimizer, plan.learning_rate, |host, grafts| {
                    loss(host, &batch, grafts)
                })?;
            log.time(&stage, timer.elapsed());
            if log.run.identical_until_step + 1 == report.step && bytes(&model.host) == bytes(&control) {
                log.run.identical_until_step = report.step;
            }
            log.events(world.events(), report.step, steps_per_epoch, progress);
        }
        world.manager.end_epoch();
        let committed = model.valid();
        world.manager.report_validation(vec![Validation {
            name: "validation_accuracy".to_owned(),
            host: accuracy(&committed.host, &validation, committed.grafts()),
            live: accuracy(&committed.host, &validation, world.manager.live_view(&model)),
            higher_is_better: true,
        }]);
        let live = accuracy(&committed.host, &test, world.manager.live_view(&model));
        let without = accuracy(&control.valid(), &test, Grafts::none());
        let alpha = world.manager.alpha(&world.seed).map_or(0.0, |alpha| f64::from(alpha.get()));
        log.epoch(without, live, alpha);
        progress.show(format_args!(
            "epoch {}/{}  control {:.1} %  grown {:.1} %",
            epoch + 1,
            plan.epochs,
            100.0 * without,
            100.0 * live
        ));
    }
    Ok(log.finish())
}

/// The manager of a run and what it is wired to.
struct World {
    manager: SeedManager<B>,
    events: MemorySink,
    seed: SeedId,
    blueprint: BlueprintId,
    /// Orders that are due and not carried out.
    due: Vec<Order>,
}

impl Run {
    /// The step before which the seed became part of the host, if it did.
    pub(crate) fn fossilised(&self) -> Option<u64> {
        self.stages.iter().find(|moved| moved.stage == "FOSSILIZED").map(|moved| moved.step)
    }

    /// Whether the host was the control's equal, byte for byte, as long as its seed was none of it.
    pub(crate) fn kept_isolation(&self, steps: u64) -> bool {
        self.identical_until_step == self.fossilised().unwrap_or(steps)
    }
}

impl World {
    fn new(plan: &Plan, seed: u64, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let blueprint = BlueprintId::new(format!("{}-seed", plan.name))?;
        let manifest = Manifest::new(blueprint.clone(), plan.contract, plan.layers.clone())?;
        let artifact = initialise(&manifest, &Initialisation { seed, zero_last: true })?;
        let mut library = DirectoryLibrary::open_or_create(directory.join("kernels"))?;
        library.publish(
            &artifact,
            BlueprintDescriptor {
                blueprint_id: blueprint.to_string(),
                name: plan.title.to_owned(),
                tier: BlueprintTier::Safe.into(),
                ..BlueprintDescriptor::default()
            },
        )?;
        fs::create_dir_all(directory)?;
        let events = MemorySink::default();
        let mut settings = kasmina::Settings::default();
        // The control's rate, which suits the seed too.
        settings.training.learning_rate = plan.learning_rate;
        let manager = SeedManager::<B>::builder(TrainingRunId::new(format!("demo-{}-{seed}", plan.name))?)
            .settings(settings.overlay(std::env::vars_os())?)
            .kernels(library)
            .volatile()
            .sink(events.clone())
            .sink(JsonLinesSink::new(File::create(directory.join("telemetry.jsonl"))?))
            .sink(TfEventsSink::new(File::create(directory.join("events.out.tfevents.kasmina"))?))
            .build(&Default::default())?;
        Ok(Self { manager, events, seed: SeedId::new("seed-1")?, blueprint, due: Vec::new() })
    }

    fn stage(&self) -> String {
        let stage = self.manager.stage(&self.seed).unwrap_or_default();
        stage.as_str_name().trim_start_matches("SEED_STAGE_").to_owned()
    }

    /// Gives the orders that are due before this epoch. A refusal is part of the story: it is printed, and the run goes on.
    fn order(&mut self, plan: &Plan, epoch: u64, steps_per_epoch: u64, progress: &Progress) {
        self.due.extend(plan.orders(epoch, steps_per_epoch, &self.seed, &self.blueprint));
        let manager = &mut self.manager;
        self.due.retain(|order| match manager.order(order.clone()) {
            Ok(_) => false,
            Err(refusal) => {
                progress.print(format_args!("  {}: {refusal}", order.name()));
                // What a gate cannot judge yet is asked again after the next epoch.
                matches!(refusal, Refusal::Decided(engine::Refusal::Postponed(_)))
            }
        });
    }

    fn events(&mut self) -> Vec<TelemetryEvent> {
        self.events.take().into_iter().flat_map(|packet| packet.events).collect()
    }
}

/// Keeps what happens.
struct Log {
    run: Run,
    since: Stopwatch,
    times: BTreeMap<String, (Duration, u32)>,
}

impl Log {
    fn new(seed: u64, plan: &Plan) -> Self {
        let epochs = plan.epochs as usize;
        let run = Run {
            seed,
            control: Vec::with_capacity(epochs),
            grown: Vec::with_capacity(epochs),
            alpha: Vec::with_capacity(epochs),
            stages: Vec::new(),
            verdicts: Vec::new(),
            identical_until_step: 0,
            step_time_ratios: BTreeMap::new(),
            control_step_ms: 0.0,
        };
        Self { run, since: Stopwatch::start(), times: BTreeMap::new() }
    }

    fn time(&mut self, what: &str, elapsed: Duration) {
        let (sum, count) = self.times.entry(what.to_owned()).or_default();
        *sum += elapsed;
        *count += 1;
    }

    fn epoch(&mut self, control: f64, grown: f64, alpha: f64) {
        self.run.control.push(control);
        self.run.grown.push(grown);
        self.run.alpha.push(alpha);
    }

    /// Keeps stages and verdicts, with a line for each. The events of an order come with the step that follows it, and are put
    /// where the order was given.
    fn events(&mut self, events: Vec<TelemetryEvent>, step: u64, steps_per_epoch: u64, progress: &Progress) {
        let step = step - 1;
        let epoch = step as f64 / steps_per_epoch as f64;
        for event in events {
            let text = |name: &str| event.attributes.get(name).cloned().unwrap_or_default();
            match event.description.as_str() {
                "seed_state" => {
                    let stage = text("to").trim_start_matches("SEED_STAGE_").to_owned();
                    progress.print(format_args!("  step {step:>5}  epoch {epoch:>4.1}  {stage}"));
                    let seconds = self.since.seconds();
                    self.run.stages.push(Moved { stage, step, epoch, seconds });
                }
                name @ ("gate_event" | "gate_failure") => {
                    let gate = text("gate").trim_start_matches("SEED_GATE_").to_owned();
                    let passed = name == "gate_event";
                    let reason = text("reason");
                    let verdict = if passed { "passed" } else { &reason };
                    progress.print(format_args!("  step {step:>5}  epoch {epoch:>4.1}  {gate}: {verdict}"));
                    self.run.verdicts.push(Judged { gate, passed, reason, step, epoch });
                }
                _ => {}
            }
        }
    }

    fn finish(mut self) -> Run {
        let mean = |(sum, count): &(Duration, u32)| sum.as_secs_f64() * 1e3 / f64::from(*count);
        let control = self.times.remove("control").as_ref().map_or(f64::NAN, mean);
        self.run.control_step_ms = control;
        self.run.step_time_ratios =
            self.times.iter().map(|(stage, time)| (stage.clone(), mean(time) / control)).collect();
        self.run
    }
}
