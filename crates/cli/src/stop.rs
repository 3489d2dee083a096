//! A command that runs until it is told to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::failure::Failure;

/// Whether SIGINT or SIGTERM has come.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From here on the first signal is noted, and a second one ends the process as if nobody had listened.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset.
            flag::register_conditional_default(signal, Arc::clone(&stop)).map_err(Failure::Signals)?;
            flag::register(signal, Arc::clone(&stop)).map_err(Failure::Signals)?;
        }
        Ok(Self(stop))
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
