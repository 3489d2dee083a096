//! The life of the manager: seeds come and go all the time, on signed commands, over a store on disk.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use burn::{
    optim::{AdamW, AdamWConfig, adaptor::OptimizerAdaptor},
    tensor::backend::Backend,
};
use fastrand::Rng;
use kasmina::{
    CommandSender, Grown, SeedManager,
    blending::{AlphaSchedule, BlendConfig},
    commands::Order,
    engine::{Seed, Stage, State},
    gates::doubles::AllowAll,
    grown::prune_optimizer,
    kernel_load::DirectoryLibrary,
    leyline::{
        BlueprintId, SeedId, SlotId, TrainingRunId,
        v1::{
            SeedLifecycleStage::{
                self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
                SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing,
                SeedStageTerminated, SeedStageTraining, SeedStageUnknown,
            },
            TelemetryPacket,
        },
    },
    lifecycle::Transition,
    memory::Pool,
    rollback::Store,
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, NonceLedger, Secret},
    telemetry::{Sink, SinkError},
};
use serde::Serialize;

use super::Sample;
use crate::crash::world::{self, B, Host, SEEDS};

/// So short that the ledger is full within the warm-up, and the journal is compacted.
const NONCE_TTL: Duration = Duration::from_secs(5);
/// Steps from one fossil to the next.
const FOSSIL_EVERY: u64 = 1_000;
/// Steps from one rollback to the next. If there were more of them, the run would never get far.
const ROLLBACK_EVERY: u64 = 3_000;
/// Steps of an epoch. Every fifth has a checkpoint.
const EPOCH: u64 = 100;
/// A sink refuses the last of so many offers, so that its breaker opens and closes again.
const SPELL: u64 = 2_000;
const REFUSALS: u64 = 5;
/// How long that breaker stays open.
const BREAK: Duration = Duration::from_millis(200);

type Model = Grown<B, Host<B>>;

/// What has happened so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) commands: u64,
    accepted: u64,
    /// Refused commands by their reason.
    refused: BTreeMap<&'static str, u64>,
    /// Moves by the stage that they lead to.
    moves: BTreeMap<&'static str, u64>,
    checkpoints: u64,
    rollbacks: u64,
    /// Records of TERMINATED seeds that were removed.
    forgotten: u64,
}

pub(super) struct Churn {
    manager: SeedManager<B>,
    model: Model,
    optimizer: OptimizerAdaptor<AdamW, Model, B>,
    sender: CommandSender,
    clock: SystemClock,
    random: Rng,
    store: PathBuf,
    /// The seeds of now, their slots and kernels.
    seeds: Vec<(SeedId, SlotId, BlueprintId)>,
    /// Seeds registered so far.
    registered: usize,
    /// Steps so far. The manager's own count goes back when the run does.
    steps: u64,
    /// The step of the last fossil, and of the last rollback.
    last_fossil: u64,
    last_rollback: u64,
    counts: Counts,
}

impl Churn {
    /// A manager over an empty store in `directory`.
    pub(super) fn begin(directory: &Path, seed: u64) -> Result<Self, Box<dyn Error>> {
        let (kernels, store) = (directory.join("kernels"), directory.join("store"));
        world::publish(&kernels)?;
        fs::create_dir_all(&store)?;
        let (device, clock) = (Default::default(), SystemClock::new());
        let secret = Secret::new("a secret of the soak")?;
        let ledger = NonceLedger::new(NONCE_TTL, NonceLedger::CAPACITY);
        let mut settings = world::settings();
        settings.rollback.checkpoint_every = 50;
        settings.lifecycle.fast_path = true;
        settings.telemetry_breaker.timeout = BREAK;
        // A busy machine must not open the breaker of blends.
        settings.gates.stability.max_blend_ms = 60_000;
        let mut manager = SeedManager::<B>::builder(TrainingRunId::new("soak")?)
            .settings(settings)
            .gatekeepers(AllowAll)
            .verifier(CommandVerifier::new(KeyRing::of("soak", secret.clone())).with_ledger(ledger))
            .kernels(DirectoryLibrary::open(&kernels)?)
            .clock(clock)
            .sink(Moody::default())
            .store(Store::open(&store)?)
            .build::<B>(&device)?;
        B::seed(&device, seed);
        let (model, optimizer) = (Grown::new(Host::init(&device)), AdamWConfig::new().init());
        let batch = world::fixed_batch();
        manager.attach_host(&model, |host, grafts| world::loss(host, &batch, grafts))?;
        let (sender, random) = (CommandSender::new(&secret, "soak")?, Rng::with_seed(seed));
        let (seeds, counts) = (Vec::new(), Counts::default());
        let mut churn = Self {
            manager,
            model,
            optimizer,
            sender,
            clock,
            random,
            store,
            seeds,
            registered: 0,
            steps: 0,
            last_fossil: 0,
            last_rollback: 0,
            counts,
        };
        for (_, slot, blueprint) in SEEDS {
            churn.register(SlotId::new(slot)?, BlueprintId::new(blueprint)?)?;
        }
        Ok(churn)
    }

    /// One training step, and what happens between two of them.
    pub(super) fn step(&mut self) -> Result<(), Box<dyn Error>> {
        self.steps += 1;
        if self.manager.rollback_commanded().is_some() {
            self.manager.roll_back(&mut self.model, &mut self.optimizer)?;
            self.last_rollback = self.steps;
            self.counts.rollbacks += 1;
        }
        if self.random.u8(..2) == 0 {
            self.command()?;
        }
        self.replace_fossils()?;
        self.forget()?;
        let batch: Vec<f32> = (0..world::numbers()).map(|_| self.random.f32() * 2.0 - 1.0).collect();
        if self.manager.rollback_commanded().is_none() {
            let loss = |host: &Host<B>, grafts: &mut _| world::loss(host, &batch, grafts);
            let report = self.manager.train_batch(&mut self.model, &mut self.optimizer, 1e-3, loss)?;
            self.count(&report.transitions);
            if self.manager.step().is_multiple_of(EPOCH) {
                self.end_epoch()?;
            }
        }
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<(), Box<dyn Error>> {
        self.manager.end_epoch();
        if self.manager.state().run.epoch.is_multiple_of(5) {
            self.manager.checkpoint(&self.model, &self.optimizer)?;
            self.counts.checkpoints += 1;
        }
        Ok(())
    }

    fn command(&mut self) -> Result<(), Box<dyn Error>> {
        let Some((seed, _, blueprint)) = self.random.choice(&self.seeds).cloned() else { return Ok(()) };
        let Some(order) = self.choose(seed, blueprint) else { return Ok(()) };
        let wire = self.sender.order(&order, self.clock.unix())?;
        self.counts.commands += 1;
        match self.manager.submit(&wire) {
            Ok(receipt) => {
                self.counts.accepted += 1;
                self.count(&receipt.transitions);
            }
            Err(error) if error.reason() == "not_durable" => return Err(error.into()),
            Err(error) => *self.counts.refused.entry(error.reason()).or_default() += 1,
        }
        Ok(())
    }

    /// What a policy might order next: mostly the way on, now and then something else.
    fn choose(&mut self, seed: SeedId, blueprint: BlueprintId) -> Option<Order> {
        if self.steps >= self.last_rollback + ROLLBACK_EVERY
            && let Some(epoch) = self.manager.epochs().first().copied()
        {
            return Some(Order::Rollback { epoch });
        }
        let state = self.manager.state();
        if state.seeds.get(&seed).and_then(|seed| seed.stage.graft()).is_some_and(|graft| graft.paused) {
            return Some(Order::Resume { seed });
        }
        let slot = state.seeds.get(&seed).map(|seed| seed.slot.clone());
        let is_live = |stage: &Stage| stage.graft().is_some() || stage.awaits().is_some();
        let is_taken = state.seeds.values().any(|it| Some(&it.slot) == slot.as_ref() && is_live(&it.stage));
        let dice = self.random.u8(..100);
        match self.manager.stage(&seed).unwrap_or_default() {
            SeedStageDormant if is_taken => None,
            SeedStageDormant => {
                let (tier, parameters, lr_scale) = (None, BTreeMap::new(), 1.0);
                Some(Order::Germinate { seed, blueprint, tier, parameters, lr_scale })
            }
            SeedStageTraining => Some(match dice {
                0..10 => Order::Pause { seed },
                10..20 => Order::Cancel { seed },
                20..30 => Order::Optimizer { seed, lr_scale: 0.5 },
                30..32 => Order::Emergency { include_teacher: false },
                _ => {
                    let schedule = AlphaSchedule::Linear { total_steps: 3 };
                    Order::StartGrafting { seed, blend: BlendConfig::residual(), schedule }
                }
            }),
            SeedStageBlending => Some(match dice {
                0..10 => Order::Cull { seed, blend_out_steps: 2 },
                _ => Order::Stabilize { seed },
            }),
            SeedStageShadowing => Some(Order::Evaluate { seed }),
            SeedStageProbationary if self.steps >= self.last_fossil + FOSSIL_EVERY => Some(Order::Fossilize { seed }),
            SeedStageProbationary => Some(Order::Cull { seed, blend_out_steps: 0 }),
            SeedStageUnknown | SeedStageGerminated | SeedStageFossilized | SeedStageCulled | SeedStageEmbargoed
            | SeedStageResetting | SeedStageTerminated => None,
        }
    }

    /// A fossil leaves the model when the next one has joined it, and a seed of another name takes its place.
    fn replace_fossils(&mut self) -> Result<(), Box<dyn Error>> {
        let stage = |manager: &SeedManager<B>, seed: &SeedId| manager.stage(seed).unwrap_or_default();
        let fossils = &self.manager.state().run.fossils;
        let leaving = self.manager.state().terminated_fossils().next().is_some();
        if fossils.len() > 1 && !leaving && self.manager.rollback_commanded().is_none() {
            let seed = fossils[0].clone();
            let moved = self.manager.order(Order::Terminate { seed })?;
            self.count(&moved);
        }
        let gone = |stage: SeedLifecycleStage| stage == SeedStageTerminated;
        let (dead, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.seeds).into_iter().partition(|(seed, ..)| gone(stage(&self.manager, seed)));
        self.seeds = alive;
        for (_, slot, blueprint) in dead {
            self.register(slot, blueprint)?;
        }
        Ok(())
    }

    /// Seeds that are TERMINATED, and whose kernels have left the model, need no record. A rollback may have brought some back.
    fn forget(&mut self) -> Result<(), Box<dyn Error>> {
        let State { seeds, run } = self.manager.state();
        let gone = |seed: &&Seed| matches!(seed.stage, Stage::Terminated) && !run.fossils.contains(&seed.id);
        let gone: Vec<_> = seeds.values().filter(gone).map(|seed| seed.id.clone()).collect();
        if gone.is_empty() {
            return Ok(());
        }
        for seed in gone {
            self.manager.forget_seed(&seed)?;
            self.counts.forgotten += 1;
        }
        self.optimizer = prune_optimizer(self.optimizer.clone(), &self.model);
        Ok(())
    }

    fn register(&mut self, slot: SlotId, blueprint: BlueprintId) -> Result<(), Box<dyn Error>> {
        self.registered += 1;
        let seed = SeedId::new(format!("seed-{}", self.registered))?;
        self.manager.register_seed(seed.clone(), slot.clone())?;
        self.seeds.push((seed, slot, blueprint));
        Ok(())
    }

    fn count(&mut self, moves: &[Transition]) {
        for moved in moves {
            *self.counts.moves.entry(moved.to.as_str_name()).or_default() += 1;
            if moved.to == SeedStageFossilized {
                self.last_fossil = self.steps;
            }
        }
    }

    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What has not happened that should have, in a run of so many steps.
    pub(super) fn missing(&self) -> Option<String> {
        let Counts { commands, accepted, moves, .. } = &self.counts;
        if accepted * 2 < *commands {
            return Some(format!(
                "{accepted} of {commands} commands were accepted, less than half: {:?}",
                self.counts.refused
            ));
        }
        let of = |stage: SeedLifecycleStage| moves.get(stage.as_str_name()).copied().unwrap_or_default();
        let least = self.steps / (4 * FOSSIL_EVERY);
        let fossils = of(SeedStageFossilized);
        (fossils < least).then(|| format!("{fossils} seeds were fossilized, and there should be {least} or more"))
    }

    /// What the manager has in its store and in its queues.
    pub(super) fn sample(&self) -> Result<Sample, Box<dyn Error>> {
        let mut sample = Sample::default();
        measure(&self.store, &mut sample)?;
        let telemetry = self.manager.memory().pools[Pool::Telemetry].held;
        (sample.telemetry_packets, sample.telemetry_bytes) = (telemetry.entries, telemetry.bytes);
        sample.seeds_on_record = self.manager.state().seeds.len() as u64;
        Ok(sample)
    }
}

/// Adds up the files in a store.
fn measure(directory: &Path, sample: &mut Sample) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            measure(&entry.path(), sample)?;
            continue;
        }
        let bytes = entry.metadata()?.len();
        sample.store_bytes += bytes;
        if entry.file_name().to_string_lossy().starts_with("journal") {
            sample.journal_bytes += bytes;
        } else {
            sample.blobs += 1;
        }
    }
    Ok(())
}

/// Takes packets, and refuses some in a row now and then.
#[derive(Default)]
struct Moody {
    offers: u64,
}

impl Sink for Moody {
    fn deliver(&mut self, _: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.offers += 1;
        if self.offers % SPELL < SPELL - REFUSALS {
            return Ok(());
        }
        Err(SinkError { sink: "moody", source: "it is in no mood".into() })
    }
}
