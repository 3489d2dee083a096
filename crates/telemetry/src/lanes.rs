//! Two lanes to a sink.

use std::collections::VecDeque;

use kasmina_leyline::v1::{TelemetryLevel, TelemetryPacket};

use crate::{Sink, SinkError};

/// What a drain did.
#[derive(Debug, Default)]
pub struct Drained {
    /// Packets that the sink took.
    pub delivered: Vec<TelemetryPacket>,
    /// Why it took no more; the packet in question and those behind it are still waiting.
    pub error: Option<SinkError>,
}

/// Packets on their way to a sink. Critical ones travel on the emergency lane, which drains first and never drops; the
/// normal lane is bounded and drops its oldest.
#[derive(Debug)]
pub struct Lanes {
    emergency: VecDeque<TelemetryPacket>,
    normal: VecDeque<TelemetryPacket>,
    capacity: usize,
    dropped: u64,
}

impl Lanes {
    /// Empty lanes; the normal one holds at most `capacity` packets.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { emergency: VecDeque::new(), normal: VecDeque::new(), capacity, dropped: 0 }
    }

    /// Puts a packet on its lane.
    pub fn push(&mut self, packet: TelemetryPacket) {
        if packet.level >= TelemetryLevel::Error as i32 {
            self.emergency.push_back(packet);
            return;
        }
        self.normal.push_back(packet);
        if self.normal.len() > self.capacity {
            self.normal.pop_front();
            self.dropped += 1;
        }
    }

    /// Hands packets to the sink, emergency lane first, until it refuses one or none is left.
    pub fn drain(&mut self, sink: &mut dyn Sink) -> Drained {
        let mut drained = Drained::default();
        for lane in [&mut self.emergency, &mut self.normal] {
            while let Some(packet) = lane.front() {
                if let Err(error) = sink.deliver(packet) {
                    drained.error = Some(error);
                    return drained;
                }
                drained.delivered.extend(lane.pop_front());
            }
        }
        drained
    }

    /// Packets waiting on the emergency lane, and on the normal one.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.emergency.len(), self.normal.len())
    }

    /// Packets that the normal lane has dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
