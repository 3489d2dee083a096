//! Events and metrics before they are on the wire.

use std::{collections::BTreeMap, fmt};

use kasmina_leyline::v1::{MetricPoint, TelemetryEvent};

use crate::{EventName, MetricName};

/// An event, with attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    name: EventName,
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event of this kind, without attributes.
    #[must_use]
    pub const fn new(name: EventName) -> Self {
        Self { name, attributes: BTreeMap::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl fmt::Display) -> Self {
        self.attributes.insert(attribute.to_owned(), value.to_string());
        self
    }

    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn name(&self) -> EventName {
        self.name
    }

    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    pub(crate) fn must_arrive(&self) -> bool {
        self.name.must_arrive()
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

/// A measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    #[allow(missing_docs, reason = "the name says it")]
    pub name: MetricName,
    /// The value, in the unit of its kind.
    pub value: f64,
    /// What the value is about, if the kind alone does not say it. Measurements of one kind with different attributes are kept
    /// side by side.
    pub attributes: BTreeMap<String, String>,
}

impl Metric {
    /// A measurement of this kind, without attributes.
    #[must_use]
    pub fn new(name: MetricName, value: impl Into<f64>) -> Self {
        Self { name, value: value.into(), attributes: BTreeMap::new() }
    }

    /// Adds an attribute.
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
