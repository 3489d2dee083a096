//! Which commands are obeyed: the authentic, the fresh and the new.
//!
//! [`CommandVerifier`] takes the bytes of an `AdaptationCommand` as they arrived and gives a [`Verified`] one, which nothing
//! else can make, with its id and its time of issue. A refusal is a [`Rejection`] with the reason of the contract. It keeps no clock: both times come in as
//! arguments.
//!
//! | check, in this order | reason |
//! |---|---|
//! | the bytes are a well-formed command | `malformed` |
//! | there is a signature | `missing_signature` |
//! | a key of the ring made it | `invalid_signature` |
//! | there is a command id | `missing_command_id` |
//! | there is a time of issue | `missing_timestamp` |
//! | it lies at most 5 s ahead | `issued_in_future` |
//! | it lies at most 60 s back, and not before what the nonce ledger still knows | `stale_command` |
//! | the command id was not used before | `nonce_replayed` |
//!
//! ```
//! use kasmina_leyline::{Monotonic, UnixTime, v1::AdaptationCommand};
//! use kasmina_security::{CommandVerifier, KeyRing, Secret, Signer, Verifier};
//!
//! // The sender
//! let now = UnixTime::from_millis(1_700_000_000_000);
//! let command = AdaptationCommand { command_id: "cmd-1".into(), issued_at: Some(now.into()), ..Default::default() };
//! let wire = Signer::new(&Secret::new("a shared secret")?).sign(&command)?;
//!
//! // The receiver
//! let mut verifier = CommandVerifier::new(KeyRing::of("2026-q1", Secret::new("a shared secret")?));
//! let verified = verifier.verify(&wire, now, Monotonic::ORIGIN)?;
//! assert_eq!(verified.id().as_str(), "cmd-1");
//!
//! let replay = verifier.verify(&wire, now, Monotonic::ORIGIN);
//! assert_eq!(replay.map_err(|rejection| rejection.reason()).err(), Some("nonce_replayed"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only a verifier can say that a command is verified:
//!
//! ```compile_fail,E0451
//! use kasmina_leyline::{CommandId, UnixTime, v1::AdaptationCommand};
//! use kasmina_security::Verified;
//!
//! fn forge(id: CommandId, issued_at: UnixTime, command: AdaptationCommand) -> Verified {
//!     Verified { id, issued_at, command }
//! }
//! ```

#[cfg(feature = "doubles")]
pub mod conformance;
#[cfg(feature = "doubles")]
pub mod doubles;
mod keys;
mod nonce;
mod rejection;
mod signer;
mod verifier;

pub use keys::{EmptySecret, KeyRing, Secret};
pub use nonce::{LedgerGauges, NonceLedger, NonceRefusal};
pub use rejection::Rejection;
pub use signer::Signer;
pub use verifier::{CommandVerifier, FreshnessWindow, RejectAll, Retention, Verified, Verifier};
