//! The command language: what can be asked of Kasmina, reading it from a verified command, and writing and signing it.
//!
//! A policy depends on this crate alone. It builds without Burn and without an async runtime.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use kasmina_commands::{CommandSender, Order, ReadSettings, read};
//! use kasmina_leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, UnixTime, v1::BlueprintTier};
//! use kasmina_security::{CommandVerifier, KeyRing, Secret, Verifier};
//!
//! // The policy decides to grow, and signs.
//! let now = UnixTime::from_millis(1_790_000_000_000);
//! let secret = Secret::new("a shared secret")?;
//! let mut sender = CommandSender::new(&secret, "tamiyo")?;
//! let germinate = Order::Germinate {
//!     seed: SeedId::new("seed-1")?,
//!     blueprint: BlueprintId::new("bottleneck")?,
//!     tier: Some(BlueprintTier::Safe),
//!     parameters: BTreeMap::new(),
//!     lr_scale: 0.5,
//! };
//! let wire = sender.order_with(&germinate, [("risk_score", "0.25")], now)?;
//!
//! // The receiver verifies the bytes, and reads the order back.
//! let mut verifier = CommandVerifier::new(KeyRing::of("k1", secret));
//! let verified = verifier.verify(&wire, now, Monotonic::ORIGIN)?.decode()?;
//! let settings = ReadSettings {
//!     run: TrainingRunId::new("run-7")?,
//!     max_alpha_vec: 64,
//!     default_total_steps: 1_000,
//!     degraded_below: 0.7,
//! };
//! let command = read(&verified, &settings, now)?;
//! assert_eq!(command.order, germinate);
//! assert_eq!(command.context.risk, Some(0.25));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What each command takes is in [`table`], from which the reader, the sender and `docs/COMMANDS.md` take their fields.

mod context;
mod error;
mod order;
mod read;
mod secret;
mod sender;
pub mod table;

pub use context::{CommandContext, Degraded};
pub use error::{ReadError, Unreadable};
pub use order::{BreakerName, Order};
pub use read::{Command, Notice, ReadSettings, read};
pub use secret::{FoundSecret, SECRET_FILE_VARIABLE, SECRET_VARIABLE, SecretError, find_secret, read_secret};
pub use sender::{CommandSender, SendError};
