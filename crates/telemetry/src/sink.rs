//! Where packets go.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use kasmina_leyline::v1::TelemetryPacket;

use crate::json;

/// Takes packets.
///
/// Saying Ok to a packet that is then lost breaks the promise that no critical event is lost; saying Err to one that was
/// taken makes it arrive twice, which its `packet_id` shows.
pub trait Sink: Send {
    /// Takes one packet.
    ///
    /// # Errors
    /// [`SinkError`]; the packet was not taken and will be offered again.
    fn deliver(&mut self, packet: &TelemetryPacket) -> Result<(), SinkError>;
}

/// Why a sink did not take a packet.
#[derive(Debug, thiserror::Error)]
#[error("the {sink} sink did not take the packet: {source}")]
pub struct SinkError {
    /// Which sink.
    pub sink: &'static str,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn deliver(&mut self, packet: &TelemetryPacket) -> Result<(), SinkError> {
        (**self).deliver(packet)
    }
}

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn deliver(&mut self, _: &TelemetryPacket) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Keeps every packet in memory. Clones share what they keep: hand one over and read from the other.
#[derive(Clone, Debug, Default)]
pub struct MemorySink(Arc<Mutex<Vec<TelemetryPacket>>>);

impl MemorySink {
    /// Takes out what has been delivered so far.
    #[must_use]
    pub fn take(&self) -> Vec<TelemetryPacket> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for MemorySink {
    fn deliver(&mut self, packet: &TelemetryPacket) -> Result<(), SinkError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(packet.clone());
        Ok(())
    }
}

/// Writes one line of JSON per packet, in the field names and enum names of the contract. Times are RFC 3339.
///
/// Each packet goes to the writer in one call and is flushed. Where a write fails half way the next begins a new line, so
/// that a reader loses one packet at most, and that one is offered again.
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
    fn deliver(&mut self, packet: &TelemetryPacket) -> Result<(), SinkError> {
        let start = if self.torn { "\n" } else { "" };
        let line = format!("{start}{}\n", json::packet(packet));
        let written = self.writer.write_all(line.as_bytes()).and_then(|()| self.writer.flush());
        self.torn = written.is_err();
        written.map_err(|source| SinkError { sink: "JSON lines", source: source.into() })
    }
}
