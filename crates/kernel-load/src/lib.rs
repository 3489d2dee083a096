//! Kernels: their file format, its verification, the module that they become, and the libraries that they come from.
//!
//! An artifact is one safetensors file whose metadata holds a [`Manifest`]: a list of layers from a closed vocabulary
//! ([`LayerSpec`]) and their [`SlotContract`]. It holds numbers and no code.
//!
//! - [`verify`] checks all of it against the [`Digests`] of a catalogue before a weight reaches a device, and says which check
//!   failed.
//! - A [`VerifiedArtifact`] builds [`KernelModule`]s.
//! - A [`KernelLoader`] gets artifacts from a [`KernelLibrary`] and caches them, including those that arrive late
//!   ([`KernelLoader::deliver`]). If something is wrong, it returns an error, never another kernel. Its caller waits.
//! - A [`KernelLoadManager`] does the same on threads of its own, once for everybody who asks, and its caller polls. Its library can
//!   also be one that is sent messages ([`KernelMessages`]).
//! - Libraries are a [`DirectoryLibrary`], `ObjectStoreLibrary` (feature `object-store`) and your own.
//! - [`blueprints`] has useful kernels for any slot, and a library of them that needs no directory.
//! - [`weights`] turns a module and its optimizer into bytes and back; [`KernelModule::blank`] makes the module to restore into.
//!
//! ```
//! use std::time::Duration;
//!
//! use burn::{backend::Flex, tensor::Tensor};
//! use kasmina_kernel_load::{
//!     Activation, DirectoryLibrary, Initialisation, KernelLoader, LayerSpec, Manifest, SlotContract, initialise,
//! };
//! use kasmina_leyline::{BlueprintId, Monotonic, v1::BlueprintDescriptor};
//!
//! let blueprint = BlueprintId::new("bottleneck-8")?;
//! let layers = vec![
//!     LayerSpec::linear(8, 4),
//!     LayerSpec::Activation(Activation::Relu),
//!     LayerSpec::linear(4, 8),
//! ];
//! let manifest = Manifest::new(blueprint.clone(), SlotContract::f32(2, 8, 8), layers)?;
//! let artifact = initialise(&manifest, &Initialisation { seed: 7, zero_last: true })?;
//!
//! let directory = tempfile::tempdir()?;
//! let mut library = DirectoryLibrary::open_or_create(directory.path())?;
//! let descriptor = BlueprintDescriptor { blueprint_id: "bottleneck-8".into(), ..Default::default() };
//! library.publish(&artifact, descriptor)?;
//!
//! let mut loader = KernelLoader::new(library, 64 << 20, Duration::from_secs(3600));
//! let verified = loader.load(&blueprint, Monotonic::ORIGIN)?.ready(&blueprint)?;
//! let kernel = verified.build::<Flex>(&Default::default());
//! let x = Tensor::<Flex, 2>::ones([3, 8], &Default::default());
//! let y = kernel.forward(x)?;
//! assert_eq!(y.to_data().to_vec::<f32>()?, vec![0.0; 3 * 8]); // `zero_last`: at first it changes nothing
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod artifact;
mod atomic;
mod blocks;
pub mod blueprints;
#[cfg(feature = "object-store")]
mod bucket;
mod catalogue;
mod check;
pub mod container;
mod digest;
mod directory;
#[cfg(feature = "doubles")]
pub mod doubles;
mod dtype;
mod error;
mod function;
mod layer;
mod library;
mod limits;
mod loader;
mod manager;
mod manifest;
mod module;
mod nested;
#[cfg(feature = "object-store")]
mod object_store;
mod plan;
mod shape;
mod slot;
mod sync;
pub mod weights;
mod write;

pub use artifact::{MANIFEST_KEY, VerifiedArtifact, verify};
pub use digest::{Digest, Digests, InvalidDigest};
pub use directory::DirectoryLibrary;
pub use dtype::KernelDtype;
pub use error::{ArtifactError, ManifestError};
pub use function::KernelFunction;
pub use layer::{Activation, LayerSpec, MAX_CHANNELS, MAX_KERNEL, NORM_EPSILON};
pub use library::{Artifact, Fetched, KernelLibrary, LibraryError, NoKernels};
pub use limits::ArtifactLimits;
pub use loader::{KernelLoader, LoadError, Loaded};
pub use manager::{
    Answered, Answers, Arrival, ArtifactReader, DirectoryReader, KernelLoadManager, KernelMessages, LoadCounts,
    LoadEvent, LoadRequest, LoadSettings, LoadStats, Purpose, RequestId, Requested, Shutdown,
};
pub use manifest::{FORMAT_VERSION, Manifest, SlotContract};
pub use module::KernelModule;
#[cfg(feature = "object-store")]
pub use object_store::{ObjectStoreLibrary, ObjectStoreReader};
pub use plan::TensorSpec;
pub use shape::ShapeError;
pub use slot::{Misfit, SlotActivation};
pub use write::{Initialisation, initialise, write_artifact};
