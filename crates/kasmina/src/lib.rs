//! Grows a Burn model while it trains, and lets no seed touch it before it has proved itself.
//!
//! A *seed* is a small module, loaded as a vetted kernel artifact and grafted at a *slot* of a live *host* network. It learns behind
//! the host under gradient isolation, is blended in, proves itself, and is fossilized into the host, or culled without a trace. The
//! [`SeedManager`] carries out; who decides is a [`Policy`](engine::Policy), an [order](SeedManager::order) of your own, or signed
//! commands ([`SeedManager::submit`]).
//!
//! A host says where seeds can go by handing its activations over: `let h = grafts.at("mid", h);`. Everything else is
//! [`SeedManager::train_batch`] in place of the trainer's forward, backward and step.
//!
//! ```
//! use burn::{
//!     backend::{Autodiff, Flex},
//!     module::Module,
//!     nn::{Linear, LinearConfig},
//!     optim::AdamWConfig,
//!     tensor::{Distribution, Tensor, activation::relu, backend::Backend},
//! };
//! use kasmina::{
//!     Advance, Grafts, SeedManager, Settings,
//!     blending::BlendBackend,
//!     commands::Order,
//!     kernel_load::{DirectoryLibrary, Initialisation, LayerSpec, Manifest, SlotContract, initialise},
//!     leyline::{BlueprintId, SeedId, SlotId, TrainingRunId, v1::{BlueprintDescriptor, BlueprintTier}},
//! };
//!
//! type B = Autodiff<Flex>;
//!
//! #[derive(Module, Debug)]
//! struct Host<B: Backend> {
//!     stem: Linear<B>,
//!     head: Linear<B>,
//! }
//!
//! impl<B: BlendBackend> Host<B> {
//!     fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
//!         let h = relu(self.stem.forward(x));
//!         let h = grafts.at("mid", h); // the one line that a host needs
//!         self.head.forward(h)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Default::default();
//! let mut host = Host::<B> { stem: LinearConfig::new(8, 4).init(&device), head: LinearConfig::new(4, 1).init(&device) };
//! let mut optimizer = AdamWConfig::new().init();
//!
//! // A library with one kernel in it
//! let directory = tempfile::tempdir()?;
//! let mut library = DirectoryLibrary::open_or_create(directory.path())?;
//! let (seed, blueprint) = (SeedId::new("seed-1")?, BlueprintId::new("linear-4")?);
//! let manifest = Manifest::new(blueprint.clone(), SlotContract::f32(2, 4, 4), vec![LayerSpec::linear(4, 4)])?;
//! let artifact = initialise(&manifest, &Initialisation { seed: 1, zero_last: true })?;
//! let tier = BlueprintTier::Safe.into();
//! library.publish(&artifact, BlueprintDescriptor { blueprint_id: blueprint.to_string(), tier, ..Default::default() })?;
//!
//! // A manager that moves its seeds on after a number of steps
//! let mut settings = Settings::default();
//! settings.lifecycle.advance = Advance::Automatic { training_steps: 10, shadowing_steps: 8, probationary_steps: 8 };
//! settings.blending.total_steps = 10;
//! let mut manager = SeedManager::<B>::builder(TrainingRunId::new("run-7")?)
//!     .settings(settings)
//!     .kernels(library)
//!     .volatile() // forgets everything with the process; with a store, see `SeedManagerBuilder::recover`
//!     .build(&device)?;
//!
//! let x = Tensor::<B, 2>::random([16, 8], Distribution::Default, &device);
//! let loss = |host: &Host<B>, grafts: &mut Grafts<B>| {
//!     let y = host.forward(x.clone(), grafts);
//!     (y - x.clone().sum_dim(1)).square().mean()
//! };
//! manager.attach_host(&host, loss)?;
//! manager.register_seed(seed.clone(), SlotId::new("mid")?)?;
//! manager.order(Order::Germinate { seed, blueprint, tier: None, parameters: Default::default(), lr_scale: 1.0 })?;
//! for _ in 0..40 {
//!     let report = manager.train_batch(&mut host, &mut optimizer, 1e-2, loss)?;
//!     for moved in report.transitions {
//!         println!("step {}: {} is {}", report.step, moved.seed_id, moved.to.as_str_name());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The crates below can each be used alone and are re-exported under their names.

mod builder;
mod durable;
mod error;
mod events;
mod gauges;
mod kernel_optimizer;
mod manager;
mod nonces;
mod ports;
mod records;
mod report;
mod settings;
mod tensors;
mod trainer_state;

#[cfg(feature = "doubles")]
pub mod doubles;

pub use kasmina_blending as blending;
pub use kasmina_commands as commands;
pub use kasmina_engine as engine;
pub use kasmina_gates as gates;
pub use kasmina_grown as grown;
pub use kasmina_isolation as isolation;
pub use kasmina_kernel_load as kernel_load;
pub use kasmina_leyline as leyline;
pub use kasmina_lifecycle as lifecycle;
pub use kasmina_memory as memory;
pub use kasmina_registry as registry;
pub use kasmina_rollback as rollback;
pub use kasmina_safety as safety;
pub use kasmina_security as security;
pub use kasmina_telemetry as telemetry;

pub use builder::SeedManagerBuilder;
pub use error::{BuildError, CheckpointError, CommandError, KernelError, ModelError, PlantError, Refusal, StepError};
pub use kasmina_blending::GraftBackend;
pub use kasmina_commands::{CommandSender, read_secret};
pub use kasmina_engine::{input::SeedStep, state::Validation};
pub use kasmina_grown::Grown;
pub use kasmina_isolation::{Activation, Fault, Grafts, SlotShape};
pub use kernel_optimizer::SeedOptimizer;
pub use manager::{Probed, Receipt, RestoredModel, RolledBack, SeedManager, Step};
pub use ports::{CommandPort, TrainPort};
pub use report::{Recovered, StepReport, StepTiming};
pub use settings::{
    Advance, AutomaticMode, BlendingSettings, CommandSettings, ENVIRONMENT_PREFIX, KernelSettings, LifecycleSettings,
    RollbackSettings, Settings, SettingsError, TelemetrySettings, TrainingSettings,
};
pub use trainer_state::{ModelState, Parts, TrainerState, model_from_parts, model_to_parts};

/// The README's example is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// So are those of the page on hosts,
#[cfg(doctest)]
#[doc = include_str!("../../../docs/HOSTS.md")]
struct Hosts;

/// and of the page on commands.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/COMMANDS.md")]
struct Commands;
