//! Kernels over the bus: a trainer asks by message, and a library of files answers.
//!
//! - [`OonaKernels`] is the trainer's side. A [`KernelLoadManager`](kasmina_kernel_load::KernelLoadManager) sends its
//!   requests through it, and takes the answers whenever it is polled.
//! - [`Urza`] is the library's side. It answers requests for the kernels of a directory, and announces new ones.
//!
//! Only the messages go over the bus. A trainer reads the artifacts themselves, in a directory or an object store that
//! both can reach, and verifies them against the digests of the answer; so a file that has changed since is refused.
//!
//! # What it costs
//!
//! 300 requests, six at once, for kernels of 37 kB, which a library answers after 40 ms ± 8 ms (39.2 ms drawn on average, 51.8 ms at the
//! 95th percentile): `cargo xtask bench --filter prefetch` on two cores of a virtual machine whose other work had to give way.
//!
//! | | latency, mean | 95th percentile | beyond what the library took |
//! |---|---|---|---|
//! | in the process | 39.7 ms | 52.5 ms | 0.46 ms, 0.59 ms at the 95th percentile |
//! | over Redis, signed | 40.3 ms | 53.1 ms | 0.99 ms, 1.24 ms at the 95th percentile |
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_kernel_load::{
//!     DirectoryLibrary, DirectoryReader, Initialisation, KernelLoadManager, LayerSpec, LoadRequest, LoadSettings,
//!     Manifest, Purpose, Requested, SlotContract, initialise,
//! };
//! use kasmina_leyline::{BlueprintId, Monotonic, TrainingRunId, v1::BlueprintDescriptor};
//! use kasmina_oona::{BusSettings, LocalBroker};
//! use kasmina_safety::{Clock, SystemClock};
//! use kasmina_urza::{OonaKernels, Urza, UrzaSettings};
//!
//! // A directory with one kernel, and a bus.
//! let directory = tempfile::tempdir()?;
//! let blueprint = BlueprintId::new("linear-8")?;
//! let manifest = Manifest::new(blueprint.clone(), SlotContract::f32(2, 8, 8), vec![LayerSpec::linear(8, 8)])?;
//! let descriptor = BlueprintDescriptor { blueprint_id: "linear-8".into(), ..Default::default() };
//! DirectoryLibrary::open_or_create(directory.path())?
//!     .publish(&initialise(&manifest, &Initialisation::default())?, descriptor)?;
//! let clock = SystemClock::new();
//! let broker = LocalBroker::new(BusSettings::default(), clock)?;
//!
//! // The library's process.
//! let bus = broker.join(Urza::subscription("urza-1"))?;
//! let mut urza = Urza::open(bus, directory.path(), None, UrzaSettings::default(), clock)?;
//!
//! // The trainer's.
//! let bus = broker.join(OonaKernels::subscription("run-7"))?;
//! let kernels = OonaKernels::new(bus, DirectoryLibrary::open(directory.path())?);
//! let reader = DirectoryReader::new(directory.path());
//! let manager =
//!     KernelLoadManager::over_messages(kernels.clone(), reader, &LoadSettings::default(), clock.unix());
//! let run = TrainingRunId::new("run-7")?;
//! let request = LoadRequest::new(blueprint, Purpose::Prefetch, run, clock.unix());
//! let Requested::Pending(request) = manager.request(request, Monotonic::ORIGIN)? else { unreachable!("it is new") };
//!
//! let served = urza.serve_once()?;
//! assert_eq!((served.ready, served.announced), (1, 1));
//! assert!(manager.wait_for(request, Duration::from_secs(60)));
//! assert!(manager.poll(Monotonic::from_millis(1))[0].outcome.is_ok());
//! assert_eq!(kernels.received().taken, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod kernels;
mod library;
mod prewarm;
mod served;
mod settings;
mod shelf;

pub use kernels::{OonaKernels, Polled};
pub use library::Urza;
pub use prewarm::{OnDevice, Prewarm, Warmth};
pub use served::Served;
pub use settings::UrzaSettings;
