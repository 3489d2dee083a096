//! The sink trait, the null object, and JSON lines.

use std::{io::Write, sync::Arc};

use kasmina_leyline::v1::TelemetryPacket;

use crate::json;

/// Takes packets.
///
/// `Ok` for a packet that is then lost breaks the promise that no critical event is lost. `Err` for a packet that was taken
/// delivers it twice; consumers can tell by its `packet_id`.
pub trait Sink: Send {
    /// Takes one packet. It is shared with other sinks: to keep it, clone the pointer.
    ///
    /// # Errors
    /// [`SinkError`] if the packet was not taken. It will be offered again.
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError>;

    /// Whether a packet that it took is where it can no longer be lost with this process. Asked about packets that must arrive
    /// ([`Packet::must_arrive`](crate::Packet::must_arrive)) and the oldest first, in every drain until it says yes: until then the journal
    /// keeps the packet, and the next process delivers it again. A sink that takes a packet for good says yes, which is the default.
    ///
    /// A wrong yes loses the packet with the process. A wrong no keeps it for ever, and all that were taken after it.
    fn is_stored(&mut self, packet_id: &str) -> bool {
        let _ = packet_id;
        true
    }
}

/// Why a sink did not take a packet.
#[derive(Debug, thiserror::Error)]
#[error("the {sink} sink did not take the packet: {source}")]
#[allow(missing_docs, reason = "the names say it")]
pub struct SinkError {
    /// The name of the sink, for operators.
    pub sink: &'static str,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        (**self).deliver(packet)
    }

    fn is_stored(&mut self, packet_id: &str) -> bool {
        (**self).is_stored(packet_id)
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        (**self).deliver(packet)
    }

    fn is_stored(&mut self, packet_id: &str) -> bool {
        (**self).is_stored(packet_id)
    }
}

/// Takes every packet and drops it. A manager without sinks drops its telemetry as well, so this adds no loss of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn deliver(&mut self, _: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Writes one line of JSON per packet, with the field and enum names of the contract. Times are RFC 3339.
///
/// Each packet is written in one call and flushed. If a write fails half way, the next packet begins on a new line, so a
/// reader sees at most one torn line, and the packet on it is offered again.
#[derive(Debug)]
pub struct JsonLinesSink<W> {
    writer: W,
    torn: bool,
}

impl<W: Write + Send> JsonLinesSink<W> {
    /// A sink that writes to `writer`.
    pub const fn new(writer: W) -> Self {
        Self { writer, torn: false }
    }
}

impl<W: Write + Send> Sink for JsonLinesSink<W> {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        let start = if self.torn { "\n" } else { "" };
        let line = format!("{start}{}\n", json::packet(packet));
        let written = self.writer.write_all(line.as_bytes()).and_then(|()| self.writer.flush());
        self.torn = written.is_err();
        written.map_err(|source| SinkError { sink: "JSON lines", source: source.into() })
    }
}
