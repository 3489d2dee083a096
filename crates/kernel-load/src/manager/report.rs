//! What the load manager tells about itself, for telemetry.

use std::collections::VecDeque;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, TrainingRunId, v1::CircuitBreakerState};
use kasmina_memory::CacheStats;
use kasmina_safety::BreakerEvent;

use super::{Purpose, RequestId};

/// Events that are kept until somebody takes them. Our choice: far more than happen between two steps.
const MOST_EVENTS: usize = 1_000;

/// Something that happened to loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadEvent {
    /// A request reached its deadline. Its [`Arrival`](crate::Arrival) says so too. CRITICAL.
    #[allow(missing_docs, reason = "the names say it")]
    Timeout {
        request: RequestId,
        blueprint: BlueprintId,
        purpose: Purpose,
        training_run_id: TrainingRunId,
        after: Duration,
    },
    /// Requests waited for a load that another request had begun. WARNING.
    Contention {
        /// Whose kernel.
        blueprint: BlueprintId,
        /// How many waited.
        waiters: u64,
        /// How long the first of them waited.
        longest: Duration,
    },
    /// The library's breaker moved.
    Breaker(BreakerEvent),
}

/// What the load manager holds and what it has done. The difference of two totals is what happened in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadStats {
    /// Requests that are outstanding, including those whose kernel waits to be polled.
    pub outstanding: u64,
    /// Loads that wait for a thread or for bytes.
    pub queued: u64,
    /// Loads that a thread works on, including those that nobody waits for any more.
    pub running: u64,
    /// Loads that wait for an answer from outside.
    pub awaiting: u64,
    /// Bytes in flight, as [`LoadSettings::in_flight_bytes`](crate::LoadSettings::in_flight_bytes) counts them.
    pub in_flight_bytes: u64,
    /// The state of the library's breaker.
    pub breaker: CircuitBreakerState,
    /// Since the manager was made.
    pub total: LoadCounts,
    /// The cache.
    pub cache: CacheStats,
}

/// Totals since the manager was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Requests that the cache could not answer and that were not refused.
    pub requests: u64,
    /// Those of them that joined a load that had begun.
    pub joined: u64,
    /// Requests that were refused at once.
    pub refused: u64,
    /// Loads begun. Each is one call of the library, or one message to it.
    pub loads: u64,
    /// Loads that brought a kernel to somebody.
    pub ready: u64,
    /// Loads that failed while somebody waited.
    pub failed: u64,
    /// Requests that reached their deadline.
    pub timeouts: u64,
    /// Requests that were cancelled.
    pub cancelled: u64,
    /// Loads that ended when nobody waited any more. What they brought was dropped.
    pub abandoned: u64,
    /// Answers from outside to a request that was answered, cancelled or too late.
    pub late_answers: u64,
    /// Answers from outside to a request that was never made here.
    pub unknown_answers: u64,
    /// Events that were dropped because nobody took them.
    pub events_dropped: u64,
}

/// What has been told, and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Told {
    events: VecDeque<LoadEvent>,
    pub(crate) counts: LoadCounts,
}

impl Told {
    pub(crate) fn tell(&mut self, event: Option<LoadEvent>) {
        let Some(event) = event else { return };
        if self.events.len() >= MOST_EVENTS {
            self.events.pop_front();
            self.counts.events_dropped += 1;
        }
        self.events.push_back(event);
    }

    pub(crate) fn events(&mut self) -> Vec<LoadEvent> {
        std::mem::take(&mut self.events).into()
    }
}
