//! The settings of the library's side.

use std::time::Duration;

use kasmina_kernel_load::ArtifactLimits;

/// How a library serves its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrzaSettings {
    /// How often the catalogue is read again. Default 1 s, our choice: a new kernel is announced that late at most.
    pub look_every: Duration,
    /// How often a kernel is run after the first time, to measure it. Default 20, our choice: the fewest of which one
    /// in twenty is above the 95th percentile.
    pub runs: usize,
    /// How many requests are taken at once. Default 16, our choice: some seconds of work at 100 MB each, so that they
    /// are answered long before another library may take them over.
    pub batch: usize,
    /// How long [`Urza::serve`](crate::Urza::serve) rests at most when there was nothing to do; a request ends it.
    /// Default 20 ms, our choice: so late is an acknowledgement, or an answer that had found no room, and so often is
    /// `until` asked.
    pub idle: Duration,
    /// How long the end of [`Urza::serve`](crate::Urza::serve) answers what was taken already, and how long it waits
    /// for the bus to store the last answers. Default 2 s: as long as a server may take to answer.
    pub flush: Duration,
    /// The limits on an artifact.
    pub limits: ArtifactLimits,
}

impl Default for UrzaSettings {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            runs: 20,
            batch: 16,
            idle: Duration::from_millis(20),
            flush: Duration::from_secs(2),
            limits: ArtifactLimits::default(),
        }
    }
}
