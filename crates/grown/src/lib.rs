//! A host and what has grown into it, as one Burn module.

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
mod put;
mod save;

pub use clip::clip_by_global_norm;
pub use error::{ForwardError, GrownError};
pub use file::{GrownFile, GrownLimits};
pub use fossil::{Fossil, FossilSpec, Provenance};
pub use grown::Grown;
pub use manifest::{DIGEST_KEY, FORMAT_VERSION, MANIFEST_KEY};
