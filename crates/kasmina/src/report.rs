//! From what happens in the manager to telemetry.

use std::sync::Arc;

use kasmina_gates::Verdict;
use kasmina_leyline::{
    CommandId, SeedId, TrainingRunId,
    v1::{AdaptationCommand, SeedLifecycleStage, TelemetryLevel},
};
use kasmina_lifecycle::Transition;
use kasmina_safety::{BreakerEvent, Clock};
use kasmina_security::Rejection;
use kasmina_telemetry::{Assembler, Event, Metric, Sink, names};

use crate::{Fault, Refusal, settings::TelemetrySettings};

/// Collects events and metrics of a step, makes packets of them, and hands those to the sinks.
pub(crate) struct Reporter {
    assembler: Assembler,
    clock: Arc<dyn Clock>,
    sinks: Vec<Box<dyn Sink>>,
}
