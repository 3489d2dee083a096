//! Fossils that are still on their way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kasmina_leyline::SeedId;

/// Seeds that were answered that they become part of a network, and that are not part of it yet. All clones of a network share one, and so do
/// its `valid()` copies.
///
/// The seed manager, which answers them, fills it.
#[derive(Clone, Debug, Default)]
pub struct PendingJoins(Arc<Mutex<BTreeSet<SeedId>>>);

impl PendingJoins {
    /// Replaces what is pending.
    pub fn set(&self, seeds: impl IntoIterator<Item = SeedId>) {
        *self.locked() = seeds.into_iter().collect();
    }

    /// Whether the two are of clones of one network.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What is pending, by id.
    #[must_use]
    pub fn seeds(&self) -> Vec<SeedId> {
        self.locked().iter().cloned().collect()
    }

    /// The set is whole whatever a thread that held it did.
    fn locked(&self) -> MutexGuard<'_, BTreeSet<SeedId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
