//! Grows a Burn model while it trains, and lets no seed touch it before it has proved itself.
//!
//! A *seed* is a small module, loaded as a vetted kernel artifact and grafted at a *slot* of a live *host* network. It learns behind
//! the host under gradient isolation, is blended in, proves itself, and becomes part of the model, or is culled without a trace. The
//! [`SeedManager`] carries out; who decides is a [`Policy`](engine::Policy), an [order](SeedManager::order) of your own, or signed
//! commands ([`SeedManager::submit`]).
//!
//! A host says where seeds can go by handing its activations over: `let h = grafts.at("mid", h);`. The model is the host with all that
//! has grown into it: a [`Grown`], one Burn module that trains, saves, loads and serves. [`SeedManager::train_batch`] is a step of
//! it, in place of the trainer's forward, backward and step.
//!
//! ```
//! use burn::{module::Module, nn::{Linear, LinearConfig}, optim::AdamWConfig};
//! use burn::tensor::{Distribution, Tensor, activation::relu, backend::Backend};
//! use kasmina::{Grafts, Grown, SeedManager, Settings, blending::BlendBackend, kernel_load::blueprints::Blueprint};
//!
//! type B = burn::backend::Autodiff<burn::backend::Flex>;
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
//! let host = Host::<B> { stem: LinearConfig::new(8, 4).init(&device), head: LinearConfig::new(4, 1).init(&device) };
//! let x = Tensor::<B, 2>::random([32, 8], Distribution::Default, &device);
//! let loss = |host: &Host<B>, grafts: &mut Grafts<B>| {
//!     (host.forward(x.clone(), grafts) - x.clone().sum_dim(1).sin()).square().mean()
//! };
//!
//! let mut model = Grown::new(host);
//! let mut optimizer = AdamWConfig::new().init();
//! let mut manager = SeedManager::<B>::local(Settings::automatic(), &device)?;
//! manager.attach_host(&model, &loss)?;
//! manager.plant("mid", Blueprint::Mlp)?;
//! for _ in 0..20 {
//!     let report = manager.train_batch(&mut model, &mut optimizer, 1e-2, &loss)?;
//!     for moved in report.transitions {
//!         println!("step {}: {} is {}", report.step, moved.seed_id, moved.to.as_str_name());
//!     }
//! }
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("grown.safetensors");
//! model.save(path)?;
//! # Ok(())
//! # }
//! ```
//!
//! - A step in parts, for gradient accumulation, clipping and optimizers of your own, is a [`Step`].
//! - [`SeedManager::local`] is for one process that forgets. [`SeedManager::builder`] takes a store, a library of kernels, a verifier,
//!   gates, a policy and sinks; with a store, [`recover`](SeedManagerBuilder::recover) goes on with a run after a kill, and
//!   [`restore_model`](SeedManager::restore_model) puts its model back.
//! - [`SeedManager::checkpoint`] and [`roll_back_to`](SeedManager::roll_back_to) go back to an epoch with everything.
//! - `model.valid()` is the network without the seeds under trial; [`live_view`](SeedManager::live_view) has them in it.
//!
//! The crates below can each be used alone and are re-exported under their names.

mod builder;
mod durable;
mod error;
mod events;
mod gauges;
mod kernel_optimizer;
mod kernels;
mod manager;
mod nonces;
mod paths;
mod ports;
mod records;
mod report;
mod resident;
mod settings;
mod tensors;
mod trainer_state;
mod workers;

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
pub use kasmina_reduce as reduce;
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
pub use manager::{MemoryReport, PoolReport, Probed, Receipt, Reset, RestoredModel, RolledBack, SeedManager, Step};
pub use ports::{CommandPort, TrainPort};
pub use report::{Recovered, StepReport, StepTiming};
pub use resident::ProcessMemory;
pub use settings::{
    Advance, AutomaticMode, BlendingSettings, CommandSettings, ENVIRONMENT_PREFIX, KernelSettings, LifecycleSettings,
    MemorySettings, RollbackSettings, Settings, SettingsError, TelemetrySettings, TrainingSettings,
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

/// of the page on several workers,
#[cfg(doctest)]
#[doc = include_str!("../../../docs/WORKERS.md")]
struct Workers;

/// of the page on commands,
#[cfg(doctest)]
#[doc = include_str!("../../../docs/COMMANDS.md")]
struct Commands;

/// and of the page on telemetry.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/TELEMETRY.md")]
struct Telemetry;
