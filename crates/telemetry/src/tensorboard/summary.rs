//! From packets to scalars and texts.

use std::collections::{BTreeMap, BTreeSet};

use kasmina_leyline::v1::{MetricPoint, TelemetryPacket};

use crate::{
    names::METRICS,
    packet::{seed_id, step_index},
    tensorboard::{
        proto::{Content, DataClass, DataType, Event, Metadata, Plugin, Shape, Summary, Tensor, Value, What},
        text,
    },
};

/// What the first record of every file says. The number is that of the format.
const FILE_VERSION: &str = "brain.Event:2";

/// What has been written so far, as far as the next packet depends on it.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    began: bool,
    wall_time: f64,
    step: i64,
    described: BTreeSet<String>,
}

impl Summaries {
    /// Tags whose description is remembered to be in the file. Our choice: every metric of 80 seeds. Further ones have none.
    const MOST_DESCRIBED: usize = 4_096;

    /// The events that hold this packet: one, unless nothing is in it, and one more at the beginning of a file.
    pub(super) fn events(&mut self, packet: &TelemetryPacket) -> Vec<Event> {
        if let Some(time) = packet.timestamp {
            self.wall_time = time.seconds as f64 + f64::from(time.nanos) / 1e9;
        }
        if let Some(step) = step_index(packet) {
            self.step = i64::try_from(step).unwrap_or(i64::MAX);
        }
        let mut events = Vec::new();
        if !self.began {
            self.began = true;
            let what = Some(What::FileVersion(FILE_VERSION.to_owned()));
            events.push(Event { wall_time: self.wall_time, step: 0, what });
        }
        let seed = seed_id(packet);
        let mut value: Vec<Value> = packet.metrics.iter().map(|metric| self.scalar(seed, metric)).collect();
        value.extend(texts(seed, packet));
        if !value.is_empty() {
            let what = Some(What::Summary(Summary { value }));
            events.push(Event { wall_time: self.wall_time, step: self.step, what });
        }
        events
    }

    fn scalar(&mut self, seed: Option<&str>, metric: &MetricPoint) -> Value {
        let attributes = metric.attributes.iter().map(|(name, value)| format!("{name}={value}"));
        let parts = seed.map(str::to_owned).into_iter().chain(attributes);
        let tag = parts.fold(metric.name.clone(), |tag, part| format!("{tag}/{part}"));
        let metadata = self.description(&tag, metric).map(|description| Metadata {
            plugin: Some(Plugin { name: "scalars".to_owned() }),
            description,
            data_class: DataClass::Scalar.into(),
        });
        Value { tag, content: Some(Content::Scalar(metric.value as f32)), metadata }
    }

    /// What the metric means, once for each tag.
    fn description(&mut self, tag: &str, metric: &MetricPoint) -> Option<String> {
        if self.described.len() >= Self::MOST_DESCRIBED || self.described.contains(tag) {
            return None;
        }
        let known = METRICS.iter().find(|known| known.name == metric.name)?;
        self.described.insert(tag.to_owned());
        Some(if known.unit == "1" { known.meaning.to_owned() } else { format!("{} [{}]", known.meaning, known.unit) })
    }
}

/// A text for each kind of event in the packet.
fn texts(seed: Option<&str>, packet: &TelemetryPacket) -> impl Iterator<Item = Value> {
    let mut paragraphs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in &packet.events {
        let name = format!("kasmina.event.{}", event.description);
        let tag = seed.into_iter().fold(name, |name, seed| format!("{name}/{seed}"));
        paragraphs.entry(tag).or_default().push(text::markdown(event));
    }
    paragraphs.into_iter().map(|(tag, paragraphs)| Value {
        tag,
        content: Some(Content::Tensor(Tensor {
            data_type: DataType::String.into(),
            shape: Some(Shape {}),
            strings: vec![paragraphs.join("\n\n").into_bytes()],
        })),
        metadata: Some(Metadata {
            plugin: Some(Plugin { name: "text".to_owned() }),
            description: String::new(),
            data_class: DataClass::Tensor.into(),
        }),
    })
}
