//! What is asked of the load manager, and what it answers.

use std::{fmt, sync::Arc, time::Duration};

use kasmina_leyline::{BlueprintId, SeedId, TrainingRunId, UnixTime};

use crate::{LoadError, VerifiedArtifact};

/// A request for a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// Whose kernel.
    pub blueprint: BlueprintId,
    /// What it is for.
    pub purpose: Purpose,
    /// The run that trains. A message-driven library is told.
    pub training_run_id: TrainingRunId,
    /// The wall clock's reading. A message-driven library is told, and nothing else depends on it.
    pub issued_at: UnixTime,
    /// How long the request may take. `None`: [`LoadSettings::timeout_ms`](crate::LoadSettings::timeout_ms).
    pub within: Option<Duration>,
}

/// What a kernel is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A seed waits for it. Its load begins before those that are only prefetches, also if it had begun to wait as one.
    Seed(SeedId),
    /// Nobody waits yet: it is put into the cache ahead of time. It begins once no load that a seed waits for is queued.
    Prefetch,
}

/// Names a request that is outstanding. No two requests of one manager have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

impl RequestId {
    /// In place of an id, for what was [ready](Requested::Ready) when it was asked for.
    pub const AT_ONCE: Self = Self(u64::MAX);
}

/// The answer to a [`LoadRequest`].
#[derive(Clone, Debug, PartialEq)]
pub enum Requested {
    /// The kernel was in the cache.
    Ready(Arc<VerifiedArtifact>),
    /// An [`Arrival`] with this id will follow, unless the request is cancelled.
    Pending(RequestId),
}

/// How a request ended. There is exactly one for each [`Requested::Pending`] that is not cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival<T = VerifiedArtifact> {
    /// The request.
    pub request: RequestId,
    /// Its blueprint.
    pub blueprint: BlueprintId,
    /// Its purpose.
    pub purpose: Purpose,
    /// Its run.
    pub training_run_id: TrainingRunId,
    /// The verified kernel, or why there is none. Nothing is ever substituted.
    pub outcome: Result<Arc<T>, LoadError>,
    /// From the request to the poll that returned this.
    pub latency: Duration,
    /// The same, if another request had begun to load the blueprint and this one had to wait for it.
    pub lock_wait: Option<Duration>,
}

impl LoadRequest {
    /// A request with the default deadline.
    #[must_use]
    pub const fn new(
        blueprint: BlueprintId,
        purpose: Purpose,
        training_run_id: TrainingRunId,
        issued_at: UnixTime,
    ) -> Self {
        Self { blueprint, purpose, training_run_id, issued_at, within: None }
    }

    /// The same request with a deadline of its own.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
