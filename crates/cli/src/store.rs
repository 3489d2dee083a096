//! `kasmina store`: the store of a manager that is not running.

use std::path::PathBuf;

use clap::Subcommand;
use kasmina_rollback::Store;

use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Read everything and change nothing; fails with the first damage
    Audit {
        /// The store's directory
        dir: PathBuf,
    },
    /// Cut a damaged journal off at the first damage, so that it opens again
    ///
    /// This forgets acknowledged records: restore a backup if there is one. The bytes that are cut off are kept in a file
    /// beside the journal.
    Salvage {
        /// The store's directory
        dir: PathBuf,
    },
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Audit { dir } => {
            let audit = Store::audit(&dir)?;
            println!(
                "sound: {} records, {} checkpoints of {} bytes",
                audit.records, audit.checkpoints, audit.checkpoint_bytes
            );
        }
        Action::Salvage { dir } => match Store::salvage(&dir)? {
            None => println!("sound: nothing to salvage"),
            Some(salvage) => {
                println!("damage: {}", salvage.damage);
                println!("cut off and kept in {}", salvage.kept.display());
                println!("the next record will be number {}", salvage.next_sequence);
            }
        },
    }
    Ok(())
}
