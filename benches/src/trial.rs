//! The same network twice: alone in plain Burn, and managed with seeds.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use burn::{
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{Distribution, Tensor},
};
use kasmina::{
    GraftBackend, Grafts, Grown, SeedManager, Settings, StepReport,
    blending::{AlphaSchedule, BlendMode},
    commands::Order,
    gates::doubles::AllowAll,
    kernel_load::{Initialisation, doubles::MemoryLibrary},
    leyline::{
        SeedId, SlotId, TrainingRunId,
        v1::{SeedLifecycleStage, TelemetryPacket},
    },
    safety::{Clock, SystemClock},
    telemetry::{Sink, SinkError},
};
use kasmina_measure::Side;

use crate::{
    hosts::{Network, SLOTS},
    setting::Setting,
};

const RATE: f64 = 1e-4;
const CLASSES: usize = 10;
/// Steps of a blend that does not end: the most that a schedule can have.
const ENDLESS: u64 = 16_777_216;
/// Steps before anything is measured or blended: optimizers have their moments, and seeds their gradients.
const FIRST: usize = 4;

/// What seeds do while they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Training,
    Blending,
}

/// A model with seeds, and its optimizer.
struct Trainee<B: GraftBackend, H: Network<B>> {
    model: Grown<B, H>,
    optimizer: OptimizerAdaptor<AdamW, Grown<B, H>, B>,
}

/// What a step is taken on.
#[derive(Clone)]
struct Batch<B: GraftBackend> {
    x: Tensor<B, 2>,
    target: Tensor<B, 2>,
    /// For CONFIDENCE, which needs them.
    logits: Option<Tensor<B, 2>>,
}

/// The network in plain Burn.
pub(crate) struct Alone<B: GraftBackend, H: Network<B>> {
    /// A step moves it into the optimizer, and gets the next one back.
    model: Option<H>,
    optimizer: OptimizerAdaptor<AdamW, H, B>,
    batch: Batch<B>,
    setting: Setting<B>,
}

/// The network with seeds.
pub(crate) struct Managed<B: GraftBackend, H: Network<B>> {
    trainee: Trainee<B, H>,
    batch: Batch<B>,
    pub(crate) manager: SeedManager<B>,
    /// What its sink has taken.
    packets: Arc<AtomicU64>,
    seeds: Vec<SeedId>,
    stage: Stage,
    setting: Setting<B>,
}

/// The network twice, with so many seeds of this stage in the second, in its first slots.
pub(crate) fn twice<B: GraftBackend, H: Network<B>>(
    host: H,
    seeds: usize,
    stage: Stage,
    setting: &Setting<B>,
) -> (Alone<B, H>, Managed<B, H>) {
    let batch = Batch::of(&host, setting);
    let mut alone = Alone {
        model: Some(host.clone()),
        optimizer: AdamWConfig::new().init(),
        batch: batch.clone(),
        setting: setting.clone(),
    };
    let packets = Arc::<AtomicU64>::default();
    let (manager, kernel) = (manager(&host, &packets, setting), host.kernel().blueprint_id);
    let blend = setting.blend.config(setting.blend.mode, host.channels());
    let trainee = Trainee { model: Grown::new(host), optimizer: AdamWConfig::new().init() };
    let mut managed = Managed { trainee, batch, manager, packets, seeds: Vec::new(), stage, setting: setting.clone() };
    let batch = &managed.batch;
    managed.manager.attach_host(&managed.trainee.model, |host, grafts| batch.loss(host, grafts)).expect("a host alone");
    for (slot, number) in SLOTS.iter().zip(1..).take(seeds) {
        let seed = SeedId::new(format!("seed-{number}")).expect("an id");
        managed.manager.register_seed(seed.clone(), SlotId::new(*slot).expect("an id")).expect("the first");
        let order = Order::Germinate {
            seed: seed.clone(),
            blueprint: kernel.clone(),
            tier: None,
            parameters: BTreeMap::new(),
            lr_scale: 1.0,
        };
        managed.manager.order(order).expect("the kernel fits");
        managed.seeds.push(seed);
    }
    for _ in 0..FIRST {
        alone.step();
        managed.step();
    }
    for seed in managed.seeds.iter().filter(|_| stage == Stage::Blending) {
        let (seed, schedule) = (seed.clone(), AlphaSchedule::Linear { total_steps: ENDLESS });
        let graft = Order::StartGrafting { seed, blend: blend.clone(), schedule };
        managed.manager.order(graft).expect("every gate is open");
    }
    managed.step();
    (alone, managed)
}

fn manager<B: GraftBackend>(host: &impl Network<B>, packets: &Arc<AtomicU64>, setting: &Setting<B>) -> SeedManager<B> {
    let library = MemoryLibrary::new();
    library.add(&host.kernel(), &Initialisation { seed: 3, zero_last: true }).expect("the manifest is valid");
    let mut settings = Settings::default();
    // A noisy machine is no unstable seed.
    settings.gates.stability.max_blend_ms = 10_000;
    settings.gates.stability.max_isolation_ms = 10_000;
    let builder = SeedManager::<B>::builder(TrainingRunId::new("bench").expect("an id"))
        .settings(settings)
        .kernels(library)
        .clock(SystemClock::new())
        .gatekeepers(AllowAll)
        .volatile();
    let builder = if setting.telemetry { builder.sink(Counted(packets.clone())) } else { builder };
    builder.build(&setting.device).expect("the settings make sense")
}

/// A sink that counts what it takes, and keeps nothing.
struct Counted(Arc<AtomicU64>);

impl Sink for Counted {
    fn deliver(&mut self, _: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl<B: GraftBackend> Batch<B> {
    fn of(host: &impl Network<B>, setting: &Setting<B>) -> Self {
        let random = |shape: [usize; 2]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &setting.device);
        let x = random(host.input());
        let target = random(host.forward(x.clone(), &mut Grafts::none()).dims());
        let is_wanted = setting.blend.mode == BlendMode::Confidence;
        Self { x, target, logits: is_wanted.then(|| random([host.samples(), CLASSES])) }
    }

    /// The mean squared error.
    fn loss(&self, host: &impl Network<B>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        if let Some(logits) = &self.logits {
            grafts.offer_logits(logits.clone());
        }
        (host.forward(self.x.clone(), grafts) - self.target.clone()).square().mean()
    }
}

impl<B: GraftBackend, H: Network<B>> Alone<B, H> {
    fn step(&mut self) {
        let model = self.model.take().expect("each step gives it back");
        let gradients = self.batch.loss(&model, &mut Grafts::none()).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        self.model = Some(self.optimizer.step(RATE, model, gradients));
        self.setting.sync();
    }

    /// Its step, for a row.
    pub(crate) fn side(&mut self) -> Side<'_> {
        Side::repeat(|| self.step())
    }
}

impl<B: GraftBackend, H: Network<B>> Managed<B, H> {
    pub(crate) fn step(&mut self) -> StepReport {
        let (batch, Trainee { model, optimizer }) = (&self.batch, &mut self.trainee);
        let report = self.manager.train_batch(model, optimizer, RATE, |host, grafts| batch.loss(host, grafts));
        self.setting.sync();
        report.expect("the loss is finite")
    }

    /// Its step, for a row: without its isolation checks, if the options say so.
    pub(crate) fn side(&mut self) -> Side<'_> {
        if self.setting.isolation {
            return Side::repeat(|| self.step());
        }
        let without_checks = |[step, checks]: [Duration; 2]| step.saturating_sub(checks);
        Side::timed(move |count| (0..count).map(|_| without_checks(self.timed_step())).sum())
    }

    /// What a step and its isolation checks take.
    pub(crate) fn timed_step(&mut self) -> [Duration; 2] {
        let clock = SystemClock::new();
        let started = clock.monotonic();
        let report = self.step();
        [clock.monotonic().since(started), report.timing.verify]
    }

    /// Panics if something else was measured than the row says: a seed has left its stage, or no telemetry has arrived where there is a sink.
    pub(crate) fn assert_measured(&self) {
        let stage = match self.stage {
            Stage::Training => SeedLifecycleStage::SeedStageTraining,
            Stage::Blending => SeedLifecycleStage::SeedStageBlending,
        };
        let is_there = |seed: &SeedId| self.manager.stage(seed) == Some(stage);
        assert!(self.seeds.iter().all(is_there), "a seed has left its stage");
        let has_telemetry = self.packets.load(Ordering::Relaxed) > 0;
        assert_eq!(has_telemetry, self.setting.telemetry, "telemetry has to arrive where there is a sink");
    }
}
