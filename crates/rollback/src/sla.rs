//! How long a rollback may take.

use std::time::Duration;

use kasmina_leyline::Monotonic;

/// Going back to a checkpoint that is held in memory: 500 ms, Esper's contract.
pub const FAST_ROLLBACK: Sla = Sla { name: "fast", budget: Duration::from_millis(500) };

/// Going back to a checkpoint that is read from the store: 12 s, Esper's contract.
pub const FULL_ROLLBACK: Sla = Sla { name: "full", budget: Duration::from_secs(12) };

/// A budget of time with a name for telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sla {
    /// The path that is timed.
    pub name: &'static str,
    /// How long it may take. Exactly this long is not a breach yet.
    pub budget: Duration,
}

/// What [`Sla::judge`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The budget that it was compared with.
    pub sla: Sla,
    /// How long it took.
    pub took: Duration,
    /// By how much the budget was exceeded; `None` if it was kept.
    pub breach: Option<Duration>,
}

impl Sla {
    /// Judges what began at `started` and ended at `finished`, two readings of one clock.
    #[must_use]
    pub fn judge(self, started: Monotonic, finished: Monotonic) -> Timing {
        let took = finished.since(started);
        let breach = took.checked_sub(self.budget).filter(|over| !over.is_zero());
        Timing { sla: self, took, breach }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_budget_is_not_a_breach() {
        let start = Monotonic::from_millis(7);
        let at = |millis: u64| FAST_ROLLBACK.judge(start, Monotonic::from_millis(7 + millis));
        assert_eq!(at(500).breach, None);
        assert_eq!(at(503).breach, Some(Duration::from_millis(3)));
        assert_eq!(at(503).took, Duration::from_millis(503));
        assert_eq!(FULL_ROLLBACK.judge(start, Monotonic::from_millis(12_007)).breach, None);
        assert_eq!(FULL_ROLLBACK.judge(start, Monotonic::ORIGIN).took, Duration::ZERO);
    }
}
