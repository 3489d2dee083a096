//! Telemetry and field reports on their way to the bus.

use std::{fmt, sync::Arc};

use kasmina_leyline::v1::{BusMessageType, TelemetryPacket};
use kasmina_oona::{Bus, Message};
use kasmina_telemetry::{Sink, SinkError, field_report};
use prost::Message as _;

use crate::posted::{Posted, priority};

/// Publishes every packet, with the priority that its indicators name. It never waits for a server.
///
/// If the bus takes no more, the packet stays with the reporter and is offered again. A critical one is out of the
/// journal's hands only when the server has stored it, so it outlives this process whatever becomes of the bus; the next
/// process may publish it a second time, under the same `packet_id`.
pub struct BusSink(Posted);

/// Publishes a `FieldReport` for each event that carries one, with NORMAL priority, and nothing else of a packet.
///
/// A report is published until the server has stored it, by the next process too. It may come twice, under the same
/// `report_id`. An event that claims to carry a report and does not is skipped: it could never be published.
pub struct FieldReportSink(Posted);

impl BusSink {
    /// A sink that publishes to `bus`.
    #[must_use]
    pub fn new(bus: impl Bus + 'static) -> Self {
        Self(Posted::new(bus, "bus"))
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn Bus {
        self.0.bus()
    }
}

impl Sink for BusSink {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        let message = Message::new(BusMessageType::Telemetry, packet.encode_to_vec());
        self.0.publish(packet, message.with_priority(priority(packet)))
    }

    fn is_stored(&mut self, packet_id: &str) -> bool {
        self.0.is_stored(packet_id)
    }
}

impl FieldReportSink {
    /// A sink that publishes to `bus`.
    #[must_use]
    pub fn new(bus: impl Bus + 'static) -> Self {
        Self(Posted::new(bus, "field reports"))
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn Bus {
        self.0.bus()
    }
}

impl Sink for FieldReportSink {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        for report in packet.events.iter().filter_map(field_report).flatten() {
            self.0.publish(packet, Message::new(BusMessageType::FieldReport, report.encode_to_vec()))?;
        }
        Ok(())
    }

    fn is_stored(&mut self, packet_id: &str) -> bool {
        self.0.is_stored(packet_id)
    }
}

impl fmt::Debug for BusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusSink").field("status", &self.bus().status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for FieldReportSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldReportSink").field("status", &self.bus().status()).finish_non_exhaustive()
    }
}
