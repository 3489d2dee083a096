//! What a seed manager must not forget: a journal of what it acknowledged, and the weights that it names.
//!
//! - [`Journal`] appends a batch of [entries](Entry) with one sync and returns only when they are durable.
//! - [`Blobs`] stores bytes under their SHA-256 and verifies them when it reads them.
//! - [`Keeper`] owns both: one batch for each acknowledgement, back-off while writes fail, compaction, the sweep of blobs.
//! - [`Store`] is both in one directory, on a [`Storage`]: the one seam to the disk, so that a power cut is a value in a test.
//! - [`Sla`] says whether a rollback took too long; time comes in as an argument.
//!
//! Null objects ([`NoJournal`], [`NoBlobs`], [`NoStorage`]) refuse. `docs/DURABILITY.md` is the normative text: bytes,
//! invariants, assumptions about the medium. `docs/decisions/journal.md` says why this is not a database.
//!
//! ```
//! use kasmina_leyline::{CommandId, Monotonic, UnixTime};
//! use kasmina_rollback::{Entry, Keeper, KeeperSettings, Store};
//!
//! let (directory, now) = (tempfile::tempdir()?, Monotonic::ORIGIN);
//! let open = || -> Result<Keeper, Box<dyn std::error::Error>> {
//!     let Store { journal, blobs, .. } = Store::open(directory.path())?;
//!     Ok(Keeper::open(Box::new(journal), Box::new(blobs), KeeperSettings::default(), now)?)
//! };
//! let mut keeper = open()?;
//! keeper.ready(now)?; // before anything is encoded
//! let kernel = keeper.put(&[7; 64], now)?;
//! let command_id = CommandId::new("cmd-1")?;
//! keeper.append(
//!     &[
//!         Entry::NonceSeen { command_id: command_id.clone(), issued_at: UnixTime::from_millis(1) },
//!         Entry::Accepted { command_id, wire: vec![10, 5] },
//!         Entry::Delta { bytes: vec![1], blobs: vec![kernel] },
//!     ],
//!     now,
//! )?;
//! drop(keeper); // or kill -9, or a power cut
//!
//! let mut keeper = open()?;
//! assert_eq!(keeper.status()?, 1..4);
//! assert_eq!(keeper.get(&kernel)?, [7; 64]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backoff;
mod blob_directory;
mod blobs;
mod digest;
#[cfg(any(test, feature = "doubles"))]
pub mod doubles;
mod encoding;
mod entry;
mod error;
mod fields;
mod file_storage;
mod frame;
mod holdings;
mod journal;
mod journal_file;
mod keeper;
mod scan;
mod settings;
mod sla;
mod storage;
mod store;

pub use blob_directory::BlobDirectory;
pub use blobs::{Blobs, NoBlobs};
pub use digest::{Digest, InvalidDigest};
pub use encoding::RecordError;
pub use entry::{Entry, Record};
pub use error::StoreError;
pub use file_storage::FileStorage;
pub use frame::{JOURNAL_VERSION, MAX_BATCH_BYTES};
pub use holdings::{Epoch, KEPT_SNAPSHOTS};
pub use journal::{Journal, NoJournal, Visitor};
pub use journal_file::JournalFile;
pub use keeper::Keeper;
pub use scan::SECTOR_BYTES;
pub use settings::KeeperSettings;
pub use sla::{FAST_ROLLBACK, FULL_ROLLBACK, Sla, Timing};
pub use storage::{NoStorage, Storage};
pub use store::{Audit, Recovery, Salvage, Store};
