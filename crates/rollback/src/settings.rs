//! How a keeper keeps.

use std::time::Duration;

/// How long things are kept, and how often the journal is tidied up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperSettings {
    /// How long the record of a nonce is needed after it was written: as long as the command could be sent again.
    pub retention: Duration,
    /// Records that may lie in the journal beyond those that are needed. Each compaction writes what is needed anew.
    pub compact_after: u64,
    /// Records after the newest snapshot from which on [`Keeper::snapshot_due`](crate::Keeper::snapshot_due) asks for another.
    pub snapshot_after: u64,
    /// The wait after the first failed write. It doubles with each further failure.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl Default for KeeperSettings {
    /// Five minutes of nonces, 4096 records (some 1 MiB of commands), waits of 1 s to 60 s. Our choices.
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(300),
            compact_after: 4096,
            snapshot_after: 4096,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}
