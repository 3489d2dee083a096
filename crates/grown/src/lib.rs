//! A host and what has grown into it as one Burn module, which saves to one file.
//!
//! - [`Grown`] is the module. The optimizer, the gradient clipping and the schedule that trained the host train it on, and its `valid()`
//!   serves. Its [`forward`](Grown::forward) is a closure over the host and its grafts, the same in training and in inference.
//! - A [`Fossil`] is a kernel that has become part of the host. [`Fossil::to_artifact`] makes it an artifact again, to plant it elsewhere.
//! - [`Grown::save`] writes one safetensors file, and [`Grown::load`] reads it: on any backend, without autodiff, and without the manager,
//!   settings or keys of the run in which it grew. [`GrownFile`] says what is in the file and checks all of it.
//!
//! ```
//! use burn::{
//!     backend::{Autodiff, Flex},
//!     module::{AutodiffModule, Module},
//!     nn::{Linear, LinearConfig},
//!     optim::{AdamWConfig, GradientsParams, Optimizer},
//!     tensor::{Distribution, Tensor, activation::relu, backend::Backend},
//! };
//! use kasmina_blending::{BlendBackend, BlendConfig};
//! use kasmina_grown::{Fossil, FossilSpec, Grown, Provenance, clip_by_global_norm};
//! use kasmina_isolation::Grafts;
//! use kasmina_kernel_load::{KernelLoader, SlotContract, blueprints::{Blueprint, BuiltInLibrary, Start}};
//! use kasmina_leyline::{Monotonic, SeedId, SlotId};
//!
//! #[derive(Module, Debug)]
//! struct Host<B: Backend> {
//!     stem: Linear<B>,
//!     head: Linear<B>,
//! }
//!
//! impl<B: BlendBackend> Host<B> {
//!     fn new(device: &B::Device) -> Self {
//!         Self { stem: LinearConfig::new(8, 16).init(device), head: LinearConfig::new(16, 1).init(device) }
//!     }
//!
//!     fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
//!         let h = relu(self.stem.forward(x));
//!         self.head.forward(grafts.at("mid", h))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! type Train = Autodiff<Flex>;
//! let device = Default::default();
//! let mut network = Grown::new(Host::<Train>::new(&device));
//!
//! // In a managed run, the manager makes the fossil out of a seed that has proved itself.
//! let manifest = Blueprint::Bottleneck.for_slot(SlotContract::f32(2, 16, 16), Start::Identity)?;
//! let mut loader = KernelLoader::new(BuiltInLibrary::new(7), 1 << 20, std::time::Duration::MAX);
//! let artifact = loader.load(&manifest.blueprint_id, Monotonic::ORIGIN)?.ready(&manifest.blueprint_id)?;
//! let spec = FossilSpec {
//!     seed: SeedId::new("seed-1")?,
//!     slot: SlotId::new("mid")?,
//!     blend: BlendConfig::convex(),
//!     manifest,
//!     provenance: Provenance::default(),
//! };
//! network.push(Fossil::new(spec, artifact.build(&device))?)?;
//!
//! let mut optimizer = AdamWConfig::new().init();
//! let x = Tensor::<Train, 2>::random([32, 8], Distribution::Default, &device);
//! for _ in 0..5 {
//!     let y = network.forward(|host, grafts| host.forward(x.clone(), grafts))?;
//!     let loss = (y - x.clone().sum_dim(1)).square().mean();
//!     let mut gradients = GradientsParams::from_grads(loss.backward(), &network);
//!     clip_by_global_norm(&network, &mut gradients, 1.0);
//!     network = optimizer.step(1e-2, network, gradients);
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("network.safetensors");
//! network.save(&path)?;
//! let served = Grown::<Flex, _>::load(&path, Host::new(&device), &device)?; // in another process
//! let answer = |network: &Grown<Flex, Host<Flex>>| network.forward(|host, grafts| host.forward(x.clone().inner(), grafts));
//! assert_eq!(answer(&served)?.into_data(), answer(&network.valid())?.into_data());
//! # Ok(())
//! # }
//! ```
//!
//! # Two things that Burn does
//!
//! A clone of a lazy parameter is initialised with numbers of its own: run a module once, or save it, before it is cloned. And `valid()` drops
//! the mapper of a parameter, as a column-layout `Linear` has one: save the module that trains, not its `valid()` copy. A file of such a copy
//! is refused by a host with the mapper.

mod clip;
mod collect;
mod digest;
mod dtype;
mod error;
mod file;
mod fossil;
mod grown;
mod load;
mod manifest;
mod pending;
mod prune;
mod put;
mod save;

pub use clip::clip_by_global_norm;
pub use error::{ForwardError, GrownError};
pub use file::{GrownFile, GrownLimits};
pub use fossil::{Fossil, FossilSpec, Provenance};
pub use grown::{Grown, HostModule};
pub use manifest::{DIGEST_KEY, FORMAT_VERSION, MANIFEST_KEY};
pub use pending::PendingJoins;
pub use prune::prune_optimizer;
