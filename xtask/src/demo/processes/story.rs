//! What all processes know: the plan, the names, the streams and the secret.

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use kasmina::{
    Settings,
    commands::Order,
    kernel_load::{DirectoryLibrary, Initialisation, Manifest, initialise},
    leyline::{
        BlueprintId, SeedId, TrainingRunId,
        v1::{BlueprintDescriptor, BlueprintTier, SeedLifecycleStage},
    },
    safety::SystemClock,
    security::Secret,
};
use kasmina_oona::{BusSettings, EntryKeys, RedisBus, RedisSettings, Subscription};

use crate::{
    demo::{
        growth::Images,
        plan::{HostName, Plan, VALIDATION},
        task::steps_per_epoch,
    },
    digits::Digits,
};

/// How long somebody waits for another process that may have been killed and is started again. Only a failing demo waits so long.
pub(in crate::demo) const PATIENCE: Duration = Duration::from_secs(60);

/// After how long a message comes again whose reader was killed.
const CLAIM_AFTER: Duration = Duration::from_secs(2);

/// How often a process that waits looks for something.
pub(in crate::demo) const A_MOMENT: Duration = Duration::from_millis(1);

pub(in crate::demo) struct Story {
    pub(in crate::demo) directory: PathBuf,
    pub(in crate::demo) random_seed: u64,
    pub(in crate::demo) images: Images,
    pub(in crate::demo) plan: Plan,
    pub(in crate::demo) run: TrainingRunId,
    pub(in crate::demo) seed: SeedId,
    pub(in crate::demo) blueprint: BlueprintId,
}

impl Story {
    pub(in crate::demo) fn new(directory: PathBuf, random_seed: u64) -> Result<Self, Box<dyn Error>> {
        let (train, test) = Digits::read()?.split();
        let (train, validation) = train.hold_out(VALIDATION);
        Ok(Self {
            directory,
            random_seed,
            images: Images { train, validation, test },
            plan: Plan::of(HostName::Mlp),
            run: TrainingRunId::new(format!("demo-{random_seed}"))?,
            seed: SeedId::new("seed-1")?,
            blueprint: BlueprintId::new("mlp-seed")?,
        })
    }

    pub(in crate::demo) fn kernels(&self) -> PathBuf {
        self.directory.join("kernels")
    }

    /// Makes the library.
    pub(in crate::demo) fn publish(&self) -> Result<(), Box<dyn Error>> {
        let manifest = Manifest::new(self.blueprint.clone(), self.plan.contract, self.plan.layers.clone())?;
        let artifact = initialise(&manifest, &Initialisation { seed: self.random_seed, zero_last: true })?;
        let (name, tier) = (self.plan.title.to_owned(), BlueprintTier::Safe.into());
        let blueprint_id = self.blueprint.to_string();
        let descriptor = BlueprintDescriptor { blueprint_id, name, tier, ..BlueprintDescriptor::default() };
        Ok(DirectoryLibrary::open_or_create(self.kernels())?.publish(&artifact, descriptor).map(drop)?)
    }

    /// What the seed waits for before the step that comes after `steps`.
    pub(in crate::demo) fn order(&self, stage: SeedLifecycleStage, steps: u64) -> Option<Order> {
        self.plan.next(stage, steps, self.steps_per_epoch(), &self.seed, &self.blueprint)
    }

    pub(in crate::demo) fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(&self.images.train)
    }

    /// The manager's settings. A busy machine tells the same story: no gate looks at how long something took.
    pub(in crate::demo) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.training.learning_rate = self.plan.learning_rate;
        settings.gates.stability.max_blend_ms = 60_000;
        settings.gates.stability.max_isolation_ms = 60_000;
        // The order to germinate waits until its kernel is there, so that runs can be compared.
        settings.kernels.wait_ms = PATIENCE.as_millis() as u64;
        settings.kernels.timeout_ms = 2 * settings.kernels.wait_ms;
        // So that a run that goes on from an epoch's checkpoint is the one that was interrupted there.
        settings.rollback.checkpoint_every = self.steps_per_epoch();
        // A round takes an epoch to decide that all go back by one.
        settings.rollback.keep_in_store = 5;
        settings
    }
}

/// The secret of commands and entries. A demo has nothing to hide.
pub(in crate::demo) fn secret() -> Result<Secret, Box<dyn Error>> {
    Ok(Secret::new("the secret of the demo's processes")?)
}

/// A connection to the bus.
pub(in crate::demo) fn join(
    address: &str,
    subscription: Option<Subscription>,
) -> Result<Arc<RedisBus>, Box<dyn Error>> {
    join_with(address, subscription, BusSettings::default())
}

/// The same, with settings of its own.
pub(in crate::demo) fn join_with(
    address: &str,
    subscription: Option<Subscription>,
    bus: BusSettings,
) -> Result<Arc<RedisBus>, Box<dyn Error>> {
    let mut settings = RedisSettings::new(address);
    settings.bus = BusSettings { claim_after: CLAIM_AFTER, ..bus };
    settings.claim_every = CLAIM_AFTER / 4;
    // A server that was killed is back after a moment.
    settings.longest_retry = Duration::from_millis(200);
    let keys = EntryKeys::of_key("demo", secret()?.key());
    Ok(Arc::new(RedisBus::start(settings, keys, subscription, SystemClock::new())?))
}
