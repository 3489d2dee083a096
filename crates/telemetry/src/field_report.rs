//! A field report as an event, and back.

use std::collections::BTreeMap;

use kasmina_leyline::{
    UnixTime,
    v1::{FieldReport, FieldReportOutcome, TelemetryEvent},
};

use crate::{Event, names};

const REPORT_ID: &str = "report_id";
const COMMAND_ID: &str = "command_id";
const RUN: &str = "training_run_id";
const SEED: &str = "seed_id";
const BLUEPRINT: &str = "blueprint_id";
const OUTCOME: &str = "outcome";
const EPOCHS: &str = "observation_window_epochs";
const ISSUED_AT: &str = "issued_at_ns";
const REASON: &str = "reason";
/// What the name of a metric's attribute begins with.
const METRIC: &str = "metric.";
/// The version of the reports that are written.
const VERSION: u32 = 1;

/// The event that carries a report, so that it travels as what is critical does: into the journal with the batch that causes it, and to
/// every sink.
///
/// An attribute for each field, named after it, but that `notes` is `reason`, the time of issue `issued_at_ns` (nanoseconds since the Unix
/// epoch), and a metric `metric.` and its name. Kasmina knows no `tamiyo_policy_version` and proposes no `follow_up_actions`: they are not
/// carried.
#[must_use]
pub fn field_report_event(report: &FieldReport) -> Event {
    let event = Event::new(names::FIELD_REPORT)
        .with(REPORT_ID, &report.report_id)
        .with(RUN, &report.training_run_id)
        .with(SEED, &report.seed_id)
        .with(BLUEPRINT, &report.blueprint_id)
        .with(OUTCOME, report.outcome().as_str_name())
        .with(EPOCHS, report.observation_window_epochs)
        .with(REASON, &report.notes);
    let event = match report.issued_at.map(UnixTime::from) {
        Some(at) => event.with(ISSUED_AT, at.as_nanos()),
        None => event,
    };
    let event = if report.command_id.is_empty() { event } else { event.with(COMMAND_ID, &report.command_id) };
    report.metrics.iter().fold(event, |event, (name, value)| event.with(&format!("{METRIC}{name}"), value))
}

/// The report that an event carries; `None` for an event of another kind.
///
/// # Errors
/// [`UnreadableReport`].
pub fn field_report(event: &TelemetryEvent) -> Option<Result<FieldReport, UnreadableReport>> {
    (event.description == names::FIELD_REPORT.name).then(|| read(&event.attributes))
}

fn read(attributes: &BTreeMap<String, String>) -> Result<FieldReport, UnreadableReport> {
    let text = |name| attributes.get(name).map(String::as_str);
    let needed = |name| text(name).ok_or(UnreadableReport { attribute: name });
    fn parsed<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, UnreadableReport> {
        text.parse().map_err(|_| UnreadableReport { attribute: name })
    }
    let metric = |(name, value): (&String, &String)| {
        let name = name.strip_prefix(METRIC)?;
        Some(parsed(METRIC, value).map(|value: f32| (name.to_owned(), value)))
    };
    let outcome = FieldReportOutcome::from_str_name(needed(OUTCOME)?);
    let issued_at = text(ISSUED_AT).map(|text| parsed(ISSUED_AT, text).map(UnixTime::from_nanos)).transpose()?;
    Ok(FieldReport {
        version: VERSION,
        report_id: needed(REPORT_ID)?.to_owned(),
        command_id: text(COMMAND_ID).unwrap_or_default().to_owned(),
        training_run_id: needed(RUN)?.to_owned(),
        seed_id: needed(SEED)?.to_owned(),
        blueprint_id: needed(BLUEPRINT)?.to_owned(),
        outcome: outcome.ok_or(UnreadableReport { attribute: OUTCOME })?.into(),
        metrics: attributes.iter().filter_map(metric).collect::<Result<_, _>>()?,
        observation_window_epochs: parsed(EPOCHS, needed(EPOCHS)?)?,
        issued_at: issued_at.map(Into::into),
        notes: text(REASON).unwrap_or_default().to_owned(),
        ..FieldReport::default()
    })
}

/// A `field_report` event does not carry a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field report's `{attribute}` is missing or cannot be read")]
pub struct UnreadableReport {
    /// The attribute, or what its name begins with.
    pub attribute: &'static str,
}
