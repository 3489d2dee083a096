//! What was published and is not known to be stored.

use std::collections::BTreeMap;

use kasmina_leyline::v1::{MessagePriority, TelemetryPacket};
use kasmina_oona::{Bus, Message, Ticket};
use kasmina_telemetry::{Packet, SinkError};

/// A bus, and the packets that went there and must arrive, until the server has stored them.
pub(crate) struct Posted {
    bus: Box<dyn Bus>,
    sink: &'static str,
    unstored: BTreeMap<String, Ticket>,
}

impl Posted {
    pub(crate) fn new(bus: impl Bus + 'static, sink: &'static str) -> Self {
        Self { bus: Box::new(bus), sink, unstored: BTreeMap::new() }
    }

    pub(crate) fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// Publishes something about a packet.
    pub(crate) fn publish(&mut self, about: &TelemetryPacket, message: Message) -> Result<(), SinkError> {
        let published = self.bus.publish(message);
        let ticket = published.map_err(|refused| SinkError { sink: self.sink, source: refused.cause.into() })?;
        if Packet::must_arrive(about) {
            self.unstored.insert(about.packet_id.clone(), ticket);
        }
        Ok(())
    }

    /// Whether the server has stored everything about a packet.
    pub(crate) fn is_stored(&mut self, packet_id: &str) -> bool {
        let Some(ticket) = self.unstored.get(packet_id) else { return true };
        if *ticket > self.bus.status().stored_through {
            return false;
        }
        self.unstored.remove(packet_id);
        true
    }
}

/// The priority that a packet says it has.
pub(crate) fn priority(packet: &TelemetryPacket) -> MessagePriority {
    let said = packet.system_health.as_ref().and_then(|health| health.indicators.get("priority"));
    said.and_then(|name| MessagePriority::from_str_name(name)).unwrap_or(MessagePriority::Normal)
}
