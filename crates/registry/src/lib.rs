//! Who owns which parameter, and who may update it.
//!
//! A parameter belongs to the host, to one seed, or to a teacher. Before every optimizer step, [`Registry::validate_update`] says
//! whether the owner may update these parameters: only its own, and the teacher's never. The registry holds ids, never a tensor.
//! [`Ownership`] is the seam that a training pass sees; [`OwnsNothing`] is its null object.
//!
//! ```
//! use burn::{backend::{Autodiff, Flex}, nn::LinearConfig};
//! use kasmina_leyline::SeedId;
//! use kasmina_registry::{Owner, Registry, parameter_ids};
//!
//! let host = LinearConfig::new(4, 4).init::<Autodiff<Flex>>(&Default::default());
//! let kernel = LinearConfig::new(4, 4).init::<Autodiff<Flex>>(&Default::default());
//! let seed = SeedId::new("seed-1")?;
//!
//! let mut registry = Registry::default();
//! registry.register_host(parameter_ids(&host))?;
//! registry.register_seed(&seed, parameter_ids(&kernel))?;
//!
//! let by_seed = Owner::Seed(seed);
//! assert!(registry.validate_update(&by_seed, parameter_ids(&kernel)).is_ok());
//! let refused = registry.validate_update(&by_seed, parameter_ids(&host));
//! assert_eq!(refused.map_err(|refusal| refusal.reason()), Err("cross_seed"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "doubles")]
pub mod doubles;
mod error;
mod ownership;
mod parameters;
mod registry;

pub use error::{RegistryError, UpdateRefusal};
pub use ownership::{Ownership, OwnsNothing};
pub use parameters::parameter_ids;
pub use registry::{Owner, Registry};
