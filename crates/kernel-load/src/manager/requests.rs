//! The table of outstanding requests.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::{BlueprintId, Monotonic, SeedId};

use super::{LoadRequest, Purpose, RequestId};

/// A request that has not been answered.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) request: LoadRequest,
    pub(crate) asked: Monotonic,
    /// Whether another request had begun the load.
    pub(crate) joined: bool,
    deadline: Monotonic,
}

/// The outstanding requests, at most a fixed number.
#[derive(Debug)]
pub(crate) struct Requests {
    most: usize,
    timeout: Duration,
    by_id: BTreeMap<RequestId, Outstanding>,
    next: u64,
    /// No deadline is earlier. It may be that of a request that has gone.
    earliest: Option<Monotonic>,
}

impl Requests {
    pub(crate) const fn new(most: usize, timeout: Duration) -> Self {
        Self { most, timeout, by_id: BTreeMap::new(), next: 0, earliest: None }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.by_id.len() >= self.most
    }

    pub(crate) const fn next_id(&self) -> RequestId {
        RequestId(self.next)
    }

    /// Adds a request under [`next_id`](Self::next_id).
    pub(crate) fn add(&mut self, request: LoadRequest, joined: bool, now: Monotonic) -> RequestId {
        let id = self.next_id();
        self.next += 1;
        let deadline = now.after(request.within.unwrap_or(self.timeout));
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.by_id.insert(id, Outstanding { request, asked: now, joined, deadline });
        id
    }

    pub(crate) fn take(&mut self, id: RequestId) -> Option<Outstanding> {
        self.by_id.remove(&id)
    }

    /// Whose kernel a request is for.
    pub(crate) fn blueprint(&self, id: RequestId) -> Option<&BlueprintId> {
        self.by_id.get(&id).map(|it| &it.request.blueprint)
    }

    /// The requests whose deadline has come.
    pub(crate) fn due(&mut self, now: Monotonic) -> Vec<RequestId> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        self.earliest = self.by_id.values().map(|it| it.deadline).filter(|deadline| now < *deadline).min();
        self.by_id.iter().filter(|(_, it)| it.deadline <= now).map(|(id, _)| *id).collect()
    }

    /// No deadline comes before this one.
    pub(crate) const fn earliest(&self) -> Option<Monotonic> {
        self.earliest
    }

    pub(crate) fn of_seed(&self, seed: &SeedId) -> Vec<RequestId> {
        let is_its = |it: &Outstanding| matches!(&it.request.purpose, Purpose::Seed(other) if other == seed);
        self.by_id.iter().filter(|(_, it)| is_its(it)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Forgets all. Returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        self.earliest = None;
        std::mem::take(&mut self.by_id).len()
    }
}
