//! Accepts a command only if it is authentic, fresh and new.
//!
//! [`CommandVerifier`] takes the bytes of an `AdaptationCommand` as they were received and returns [`VerifiedBytes`], with the command's
//! id and its time of issue; they decode to a [`Verified`] command. Nothing else can make either. If it does not accept the command, it
//! returns a [`Rejection`] with the contract's reason. It has no clock: the wall clock and the monotonic clock are arguments.
//!
//! | check, in this order | reason if it fails |
//! |---|---|
//! | the bytes are a well-formed command | `malformed` |
//! | there is a signature | `missing_signature` |
//! | it matches a key in the key ring | `invalid_signature` |
//! | there is a command id | `missing_command_id` |
//! | there is a time of issue | `missing_timestamp` |
//! | that time is at most 5 s ahead | `issued_in_future` |
//! | that time is at most 60 s ago, and after the nonce ledger's watermark | `stale_command` |
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
//! assert_eq!(verified.decode()?.command().command_id, "cmd-1");
//!
//! let replay = verifier.verify(&wire, now, Monotonic::ORIGIN);
//! assert_eq!(replay.map_err(|rejection| rejection.reason()).err(), Some("nonce_replayed"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only a verifier can make `VerifiedBytes`, and only they a `Verified`:
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
mod verified;
mod verifier;

pub use keys::{EmptySecret, Key, KeyRing, Secret};
pub use nonce::{LedgerGauges, NonceLedger, NonceRefusal};
pub use rejection::Rejection;
pub use signer::Signer;
pub use verified::{Verified, VerifiedBytes};
pub use verifier::{CommandVerifier, FreshnessWindow, RejectAll, Retention, Verifier};
