//! The contract that Esper's subsystems speak: generated bindings, checked identifiers, and the two kinds of time.
//!
//! [`v1`] holds the bindings of `proto/leyline.proto`, with the names of the wire. The identifiers ([`SeedId`], [`SlotId`],
//! [`BlueprintId`], [`CommandId`], [`TrainingRunId`]) are strings that were checked once at the edge, so that no code further in
//! has to check again. [`Monotonic`] and [`UnixTime`] are plain numbers: no crate of the lower floors reads a clock, and time is
//! always an argument. [`wire`] finds the bytes that a command's signature covers.
//!
//! ```
//! use kasmina_leyline::{SeedId, v1::{AdaptationCommand, CommandType}};
//! use prost::Message;
//!
//! let command = AdaptationCommand {
//!     command_id: "cmd-1".into(),
//!     command_type: CommandType::CommandSeed.into(),
//!     target_seed_id: "seed-7".into(),
//!     ..Default::default()
//! };
//! let wire = command.encode_to_vec();
//! let back = AdaptationCommand::decode(wire.as_slice())?;
//! let seed = SeedId::new(back.target_seed_id)?;
//! assert_eq!(seed.as_str(), "seed-7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod id;
mod text;
mod time;
pub mod wire;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated; the contract is documented in proto/leyline.proto")]
#[rustfmt::skip]
pub mod v1;

pub use id::{BlueprintId, CommandId, InvalidId, MAX_ID_BYTES, SeedId, SlotId, TrainingRunId};
pub use text::ShortText;
pub use time::{Monotonic, UnixTime};
