//! Loads that have ended and that nobody has polled yet.

use std::sync::Arc;

use kasmina_leyline::BlueprintId;

use super::RequestId;
use crate::LoadError;

/// A load that has ended.
pub(crate) struct Landed<T> {
    pub(crate) blueprint: BlueprintId,
    pub(crate) outcome: Result<Arc<T>, LoadError>,
    /// Bytes in flight until it is polled.
    pub(crate) bytes: u64,
    /// Who waits.
    pub(crate) askers: Vec<RequestId>,
}

/// All of them, in the order in which they ended.
pub(crate) struct Results<T>(Vec<Landed<T>>);

/// What became of a result that an asker does not want any more.
pub(crate) enum Withdrawn<T> {
    /// There is none for this asker.
    NotThere,
    /// Others wait for it.
    Shared,
    /// Nobody waits for it.
    Last(Landed<T>),
}

impl<T> Results<T> {
    pub(crate) fn add(&mut self, landed: Landed<T>) {
        self.0.push(landed);
    }

    pub(crate) fn take(&mut self) -> Vec<Landed<T>> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, asker: RequestId) -> bool {
        self.0.iter().any(|landed| landed.askers.contains(&asker))
    }

    pub(crate) fn withdraw(&mut self, asker: RequestId) -> Withdrawn<T> {
        let Some(at) = self.0.iter().position(|landed| landed.askers.contains(&asker)) else {
            return Withdrawn::NotThere;
        };
        self.0[at].askers.retain(|other| *other != asker);
        if self.0[at].askers.is_empty() { Withdrawn::Last(self.0.remove(at)) } else { Withdrawn::Shared }
    }
}

impl<T> Default for Results<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
