//! The monitor of kernels on devices that fuse operations.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::{BlueprintId, Monotonic, v1::CircuitBreakerState::CircuitStateClosed};

use crate::{Breaker, BreakerSettings, CompileMonitorSettings};

/// Watches the first executions of each kernel on a device that compiles and fuses operations when they are first run, and says which
/// path the kernel is to take: [`Fused`](KernelPath::Fused), or [`Plain`](KernelPath::Plain) without fusion.
///
/// It holds no clock and runs nothing. Whoever runs kernels asks [`due`](Self::due), runs the kernel on both paths, and gives the
/// outcome to [`record`](Self::record). A wrong move to the plain path costs time until the next trial; a wrong stay lets a seed learn
/// from wrong numbers.
///
/// | path | execution | what follows |
/// |---|---|---|
/// | fused, the first executions | good | counts; after `executions` of them nothing is due any more |
/// | fused, the first executions | bad | a breaker opens: the plain path |
/// | plain, before the time-out | - | nothing is due |
/// | plain, after the time-out | good | the breaker closes: the fused path, and nothing is due any more |
/// | plain, after the time-out | bad | the breaker opens for another time-out |
///
/// An execution is bad if it [failed](Outcome::Failed), took longer than the limit, or differs from the plain path by more than the
/// tolerance, in this order.
#[derive(Clone, Debug)]
pub struct CompileMonitor {
    settings: CompileMonitorSettings,
    watches: BTreeMap<Watched, Watch>,
}

/// What is watched: a kernel on a kind of device. All seeds with this blueprint take the same path.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watched {
    pub blueprint: BlueprintId,
    /// The kind of device, as its backend names it.
    pub device: String,
}

/// How a kernel is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelPath {
    /// As the backend runs everything.
    Fused,
    /// Without fusion, one operation after the other.
    Plain,
}

/// One execution of a kernel on the fused path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Execution {
    /// How long it took, compilation included, until its result could be read.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an execution on the fused path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// It was compared with the plain path.
    Compared {
        /// The largest difference, as a share of the largest number of the plain path. NaN is a disagreement.
        difference: f32,
        /// The largest difference that is put down to rounding.
        tolerance: f32,
    },
    /// It gave no result.
    #[allow(missing_docs, reason = "the name says it")]
    Failed { reason: &'static str },
}

/// A kernel takes another path from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathChange {
    /// The new path.
    pub to: KernelPath,
    /// Why.
    pub ground: PathReason,
    /// The execution that decided.
    pub execution: Execution,
}

/// Why a kernel takes another path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathReason {
    /// The execution gave no result; the reason that it gave.
    Failed(&'static str),
    /// It took longer than the limit.
    Slow,
    /// It differs from the plain path by more than the tolerance.
    Disagreement,
    /// A trial agreed with the plain path.
    Agreement,
}

impl PathReason {
    /// The machine-readable name, stable across versions.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Failed(reason) => reason,
            Self::Slow => "slow_execution",
            Self::Disagreement => "numeric_disagreement",
            Self::Agreement => "paths_agree",
        }
    }
}

/// What is known of one kernel.
#[derive(Clone, Debug)]
struct Watch {
    /// Good executions so far.
    seen: u32,
    breaker: Breaker,
}

impl CompileMonitor {
    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn new(settings: CompileMonitorSettings) -> Self {
        Self { settings, watches: BTreeMap::new() }
    }

    /// The path that the kernel takes at present.
    #[must_use]
    pub fn path(&self, watched: &Watched) -> KernelPath {
        let closed = self.watches.get(watched).is_none_or(Watch::is_fused);
        if closed { KernelPath::Fused } else { KernelPath::Plain }
    }

    /// How many executions on the fused path are wanted now: those of the first that have not been watched, or one trial if the
    /// kernel is on the plain path and the time-out is over.
    #[must_use]
    pub fn due(&self, watched: &Watched, now: Monotonic) -> u32 {
        match self.watches.get(watched) {
            None => self.settings.executions,
            Some(watch) if watch.is_fused() => self.settings.executions.saturating_sub(watch.seen),
            Some(watch) => u32::from(watch.breaker.peek(now).is_ok()),
        }
    }

    /// Records an execution that was [due](Self::due), and returns whether the kernel changes its path. What was not due changes
    /// nothing.
    pub fn record(&mut self, watched: &Watched, execution: Execution, now: Monotonic) -> Option<PathChange> {
        if self.due(watched, now) == 0 {
            return None;
        }
        let bad = self.settings.fault_of(&execution);
        let breaker = BreakerSettings {
            failure_threshold: 1,
            success_threshold: 1,
            timeout: self.settings.timeout,
            ..BreakerSettings::default()
        };
        let new = || Watch { seen: 0, breaker: Breaker::new(breaker) };
        let watch = self.watches.entry(watched.clone()).or_insert_with(new);
        let before = watch.is_fused();
        // It is due, so the breaker admits it.
        let _ = watch.breaker.allow(now);
        let _ = if bad.is_some() { watch.breaker.record_failure(now) } else { watch.breaker.record_success(now) };
        if bad.is_none() {
            watch.seen = if before { watch.seen.saturating_add(1) } else { self.settings.executions };
        }
        match (before, bad) {
            (true, Some(ground)) => Some(PathChange { to: KernelPath::Plain, ground, execution }),
            (false, None) => Some(PathChange { to: KernelPath::Fused, ground: PathReason::Agreement, execution }),
            (true, None) | (false, Some(_)) => None,
        }
    }
}

impl Watch {
    const fn is_fused(&self) -> bool {
        matches!(self.breaker.state(), CircuitStateClosed)
    }
}

impl CompileMonitorSettings {
    /// What is bad about an execution.
    fn fault_of(&self, execution: &Execution) -> Option<PathReason> {
        match execution.outcome {
            Outcome::Failed { reason } => Some(PathReason::Failed(reason)),
            Outcome::Compared { .. } if execution.took > self.limit => Some(PathReason::Slow),
            // NaN is within no tolerance.
            Outcome::Compared { difference, tolerance } => {
                let agree = difference <= tolerance;
                (!agree).then_some(PathReason::Disagreement)
            }
        }
    }
}
