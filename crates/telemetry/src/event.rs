//! Events and metrics before they are on the wire.

use std::{collections::BTreeMap, fmt};

use kasmina_leyline::v1::{MetricPoint, TelemetryEvent, TelemetryLevel};

use crate::{EventName, MetricName};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    name: EventName,
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event of this kind.
    #[must_use]
    pub const fn new(name: EventName) -> Self {
        Self { name, attributes: BTreeMap::new() }
    }

    /// Adds what there is to know about it.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl fmt::Display) -> Self {
        self.attributes.insert(attribute.to_owned(), value.to_string());
        self
    }

    /// Its kind.
    #[must_use]
    pub const fn name(&self) -> EventName {
        self.name
    }

    /// What there is to know about it.
    #[must_use]
    pub const fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    pub(crate) fn is_critical(&self) -> bool {
        self.name.level >= TelemetryLevel::Critical
    }

    pub(crate) fn onto_wire(self, event_id: String) -> TelemetryEvent {
        TelemetryEvent {
            event_id,
            description: self.name.name.to_owned(),
            level: self.name.level.into(),
            attributes: self.attributes,
        }
    }
}

/// Something that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its kind.
    pub name: MetricName,
    /// Its value, in the kind's unit.
    pub value: f64,
    /// What it is about, where its kind alone does not say: measurements of one kind that differ here stand side by side.
    pub attributes: BTreeMap<String, String>,
}

impl Metric {
    /// A measurement of this kind.
    #[must_use]
    pub fn new(name: MetricName, value: impl Into<f64>) -> Self {
        Self { name, value: value.into(), attributes: BTreeMap::new() }
    }

    /// Adds what it is about.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl fmt::Display) -> Self {
        self.attributes.insert(attribute.to_owned(), value.to_string());
        self
    }
}

impl From<Metric> for MetricPoint {
    fn from(metric: Metric) -> Self {
        Self {
            name: metric.name.name.to_owned(),
            value: metric.value,
            unit: metric.name.unit.to_owned(),
            attributes: metric.attributes,
        }
    }
}
