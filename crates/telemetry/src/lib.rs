//! Events and metrics of seeds, on their way to any sink.
//!
//! The events and metrics of a step go into an [`Assembler`], which makes Leyline packets of them, at most one per seed and
//! step. The packets travel on [`Lanes`] to a [`Sink`], critical packets first. What is critical is dropped only if no journal has it
//! and far too much of it waits, and whatever is dropped or set aside is counted in an event. Every sink shares the same
//! [`Packet`]. Nothing here reads a clock, and only `TfEventsSink::create` opens a file.
//!
//! [`JsonLinesSink`] writes packets to any writer, [`TracingSink`] emits their events through `tracing`, and [`PrometheusText`]
//! holds the text of a scrape. With the feature `http`, `MetricsEndpoint` serves that text, on a thread of its own. With the feature
//! `tensorboard`, `TfEventsSink` writes event files. With the feature `doubles` there are a sink for tests (`doubles::MemorySink`) and the
//! suite `conformance::run` for your own. `docs/TELEMETRY.md` in the repository says which of them is for whom.
//!
//! [`names::EVENTS`] and [`names::METRICS`] list all names; `NAMES.md` is the same for readers. The `system_health.indicators` of a packet
//! hold `priority` (`MESSAGE_PRIORITY_NORMAL`, `_HIGH` or `_CRITICAL`, after its gravest event), `step_index`, `training_run_id` and,
//! if it is about a seed, `seed_id`. Its status is the worse of that event's and the lasting [`Health`].
//!
//! A [`Reporter`] does all that for a manager. A flush costs one packet for each seed with news and one delivery to each sink (building
//! the reference packet is the bench row `telemetry/reference_packet`), every hundredth a summary of the samples, four refused offers for a sink
//! that is down, and nothing for rejected commands but one event for each reason. Between two flushes, a rejection costs a count.
//!
//! ```
//! use kasmina_leyline::{SeedId, TrainingRunId, UnixTime};
//! use kasmina_telemetry::{Assembler, Event, JsonLinesSink, Lanes, Metric, names};
//!
//! let seed = SeedId::new("seed-1")?;
//! let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7")?, 64);
//! assembler.metric(Some(&seed), Metric::new(names::SEED_ALPHA, 0.25));
//! assembler.event(Some(&seed), Event::new(names::GATE_FAILURE).with("reason", "loss_rising"));
//!
//! let mut lanes = Lanes::new(1_000);
//! for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
//!     lanes.push(packet);
//! }
//! let mut lines = Vec::new();
//! let drained = lanes.drain(&mut JsonLinesSink::new(&mut lines));
//! assert_eq!(drained.delivered[0].seed, Some(seed));
//! assert_eq!(drained.delivered[0].events[0].description, "gate_failure");
//! assert!(String::from_utf8(lines)?.contains("MESSAGE_PRIORITY_CRITICAL"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assembler;
mod bridge;
#[cfg(any(test, feature = "doubles"))]
pub mod conformance;
#[cfg(any(test, feature = "doubles"))]
pub mod doubles;
mod event;
mod field_report;
mod health;
#[cfg(feature = "http")]
mod http;
mod interval;
mod json;
mod lanes;
pub mod names;
mod offers;
mod packet;
mod pending;
mod prometheus;
mod reporter;
mod sink;
#[cfg(feature = "tensorboard")]
mod tensorboard;

pub use assembler::Assembler;
pub use bridge::TracingSink;
pub use event::{Event, Metric};
pub use field_report::{UnreadableReport, field_report, field_report_event};
pub use health::Health;
#[cfg(feature = "http")]
pub use http::{MetricsEndpoint, MetricsEndpointError};
pub use lanes::{Drained, Lanes, PacketBytes, SetAside};
pub use names::{EventName, Kind, MetricName};
pub use packet::Packet;
pub use prometheus::PrometheusText;
pub use reporter::{Draft, Flushed, Reporter};
pub use sink::{JsonLinesSink, NullSink, Sink, SinkError};
#[cfg(feature = "tensorboard")]
pub use tensorboard::{EventFileError, TfEventsSink};
