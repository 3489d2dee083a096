//! A message-driven library whose messages a test reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kasmina_leyline::{
    BlueprintId,
    v1::{BlueprintDescriptor, KernelPrefetchRequest},
};

use crate::{KernelMessages, LibraryError};

/// A [`KernelMessages`] that keeps what was sent. A clone is a handle on the same one.
#[derive(Clone, Debug, Default)]
pub struct Postbox {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<KernelPrefetchRequest>,
    failure: Option<LibraryError>,
}

impl Postbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The requests that were sent since the last call.
    #[must_use]
    pub fn sent(&self) -> Vec<KernelPrefetchRequest> {
        std::mem::take(&mut self.state().sent)
    }

    /// Makes every request fail from now on. `None` makes them succeed again.
    pub fn fail(&self, error: impl Into<Option<LibraryError>>) {
        self.state().failure = error.into();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KernelMessages for Postbox {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(super::sample_descriptor(blueprint))
    }

    fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        let mut state = self.state();
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        state.sent.push(request);
        Ok(())
    }
}
