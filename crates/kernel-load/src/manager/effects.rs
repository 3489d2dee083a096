//! What the manager's state answers and asks for.

use std::sync::Arc;

use kasmina_leyline::{BlueprintId, TrainingRunId, UnixTime};

use super::RequestId;
use super::flights::Job;
use crate::LoadError;

/// What the caller has to do once it has let go of the state.
pub(crate) struct Effects<T> {
    /// Give these to threads.
    pub(crate) jobs: Vec<Job>,
    /// Send this to the library.
    pub(crate) message: Option<Outgoing>,
    /// Drop these.
    pub(crate) garbage: Vec<Arc<T>>,
    /// Whether there is something new to poll.
    pub(crate) landed: bool,
}

/// A request to a library that answers by messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) number: u64,
    pub(crate) blueprint: BlueprintId,
    pub(crate) training_run_id: TrainingRunId,
    pub(crate) issued_at: UnixTime,
}

impl<T> Effects<T> {
    pub(crate) const fn none() -> Self {
        Self { jobs: Vec::new(), message: None, garbage: Vec::new(), landed: false }
    }
}

/// How a thread's work on a load ended.
pub(crate) enum Outcome<T> {
    Ready { artifact: Arc<T>, bytes: u64 },
    Later,
    Failed(LoadError),
}

/// The answer to a request.
pub(crate) enum Asked<T> {
    Cached(Arc<T>),
    Pending(RequestId),
}

/// What became of an answer from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// A load goes on with it.
    Taken,
    /// Its request was answered before, cancelled, or too late. It was ignored and counted.
    Late,
    /// There was no such request here. It was ignored and counted.
    Unknown,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has ended, and a poll will say how.
    Landed,
    /// Its load is on its way.
    Coming,
    /// The library has said that the artifact comes later.
    Later,
    /// It is not outstanding.
    Gone,
}
