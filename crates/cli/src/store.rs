//! `kasmina store`: the store of a manager that is not running.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kasmina_leyline::UnixTime;
use kasmina_rollback::Store;
use kasmina_safety::{Clock, SystemClock};

use crate::failure::Failure;

/// Check or repair a store
///
/// The store must not be open: stop its manager first. (`audit` can also read a copy.)
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Read and verify everything, and change nothing
    ///
    /// Prints what recovery would start from. Fails with the first damage.
    Audit {
        /// The store's directory
        dir: PathBuf,
    },
    /// Cut a damaged journal off at the damage, so that it opens again
    ///
    /// This loses acknowledged records, so restore a backup instead if there is one. The bytes that are cut off are kept in a
    /// file beside the journal.
    Salvage {
        /// The store's directory
        dir: PathBuf,
    },
    /// Set the time before which commands are rejected as replays
    ///
    /// For a manager whose clock was far ahead when a command was accepted: it has rejected every command as `stale_command` since,
    /// and a restart does not change that. Set the clock right first.
    ///
    /// The price: commands that were accepted while the clock was ahead are no longer known. Whoever has recorded one can send it
    /// again when its time of issue has come, so rotate the secret too. The reset is journaled.
    ResetWatermark {
        /// The store's directory
        dir: PathBuf,
        /// Reject commands issued before this time, in seconds since 1970; now by default
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32))]
        to: Option<u32>,
    },
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Audit { dir } => audit(&dir),
        Action::Salvage { dir } => salvage(&dir),
        Action::ResetWatermark { dir, to } => {
            let at = to.map_or_else(|| SystemClock::new().unix(), |to| UnixTime::from_millis(i64::from(to) * 1_000));
            let record = Store::reset_watermark(&dir, at)?;
            println!("record {record}: commands issued before {} s are rejected", at.as_nanos() / 1_000_000_000);
            Ok(())
        }
    }
}

fn audit(directory: &Path) -> Result<(), Failure> {
    let audit = Store::audit(directory)?;
    println!("sound: {} records, {} blobs of {} bytes", audit.records, audit.blobs, audit.blob_bytes);
    match audit.snapshots.first() {
        Some(newest) => println!("recovery starts from the snapshot in record {newest}"),
        None => println!("recovery starts from the first record"),
    }
    if !audit.epochs.is_empty() {
        let epochs: Vec<_> = audit.epochs.iter().map(u64::to_string).collect();
        println!("a rollback can go to the epochs {}", epochs.join(", "));
    }
    if audit.other_blobs > 0 {
        println!("{} more blobs are of an earlier state, or of none", audit.other_blobs);
    }
    if let Some(damage) = audit.previous_damage {
        println!("warning: the snapshot before the newest cannot be restored: {damage}");
    }
    Ok(())
}

fn salvage(directory: &Path) -> Result<(), Failure> {
    match Store::salvage(directory)? {
        None => println!("sound: nothing to salvage"),
        Some(salvage) => {
            println!("damage: {}", salvage.damage);
            println!("cut off and kept in {}", salvage.kept.display());
            println!("the next record will be number {}", salvage.next_sequence);
        }
    }
    Ok(())
}
