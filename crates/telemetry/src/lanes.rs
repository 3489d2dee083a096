//! Two lanes to a sink.

use std::collections::{BTreeMap, VecDeque};

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
///
/// Where a sink is gone, whoever owns a journal writes the [`unspilled`](Self::unspilled) packets there and says where
/// ([`spilled`](Self::spilled)). Then the emergency lane is bounded too: what is in the journal need not be in memory.
#[derive(Debug)]
pub struct Lanes {
    emergency: VecDeque<Waiting>,
    normal: VecDeque<TelemetryPacket>,
    capacity: usize,
    dropped: u64,
}

/// A critical packet.
#[derive(Debug)]
enum Waiting {
    /// In memory alone.
    Here(TelemetryPacket),
    /// In memory, and at this place elsewhere.
    Both(TelemetryPacket, u64),
    /// At this place elsewhere.
    There(u64),
}

impl Lanes {
    /// Empty lanes; the normal one holds at most `capacity` packets, the emergency one at most so many that are elsewhere too.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { emergency: VecDeque::new(), normal: VecDeque::new(), capacity, dropped: 0 }
    }

    /// Puts a packet on its lane.
    pub fn push(&mut self, packet: TelemetryPacket) {
        if packet.level >= TelemetryLevel::Error as i32 {
            self.emergency.push_back(Waiting::Here(packet));
            return;
        }
        self.normal.push_back(packet);
        if self.normal.len() > self.capacity {
            self.normal.pop_front();
            self.dropped += 1;
        }
    }

    /// Puts a critical packet of an earlier process on the emergency lane, which finds it at `place`.
    pub fn push_spilled(&mut self, place: u64) {
        self.emergency.push_back(Waiting::There(place));
    }

    /// Hands packets to the sink, emergency lane first, until it refuses one or none is left.
    pub fn drain(&mut self, sink: &mut dyn Sink) -> Drained {
        self.drain_with(sink, &mut |_| None)
    }

    /// As [`drain`](Self::drain), where packets may be elsewhere: `recall` gives what is at a place there. One that it does not
    /// give goes on waiting, and everything with it.
    pub fn drain_with(
        &mut self,
        sink: &mut dyn Sink,
        recall: &mut dyn FnMut(u64) -> Option<TelemetryPacket>,
    ) -> Drained {
        let mut drained = Drained::default();
        while let Some(waiting) = self.emergency.front_mut() {
            if let Waiting::There(place) = *waiting {
                let Some(packet) = recall(place) else {
                    drained.error =
                        Some(SinkError { sink: "emergency", source: format!("record {place} cannot be read").into() });
                    return drained;
                };
                *waiting = Waiting::Both(packet, place);
            }
            if let Waiting::Here(packet) | Waiting::Both(packet, _) = waiting
                && let Err(error) = sink.deliver(packet)
            {
                drained.error = Some(error);
                return drained;
            }
            if let Some(Waiting::Here(packet) | Waiting::Both(packet, _)) = self.emergency.pop_front() {
                drained.delivered.push(packet);
            }
        }
        while let Some(packet) = self.normal.front() {
            if let Err(error) = sink.deliver(packet) {
                drained.error = Some(error);
                return drained;
            }
            drained.delivered.extend(self.normal.pop_front());
        }
        drained
    }

    /// The critical packets that are in memory alone.
    pub fn unspilled(&self) -> impl Iterator<Item = &TelemetryPacket> {
        self.emergency.iter().filter_map(|waiting| match waiting {
            Waiting::Here(packet) => Some(packet),
            Waiting::Both(..) | Waiting::There(_) => None,
        })
    }

    /// Takes in where critical packets are elsewhere, by their `packet_id`. Those beyond the capacity are let go of here.
    pub fn spilled(&mut self, places: &BTreeMap<String, u64>) {
        for (number, waiting) in self.emergency.iter_mut().enumerate() {
            let place = match waiting {
                Waiting::Here(packet) => places.get(&packet.packet_id).copied(),
                Waiting::Both(_, place) => Some(*place),
                Waiting::There(_) => None,
            };
            let Some(place) = place else { continue };
            if number >= self.capacity {
                *waiting = Waiting::There(place);
            } else if let Waiting::Here(packet) = waiting {
                *waiting = Waiting::Both(std::mem::take(packet), place);
            }
        }
    }

    /// Where critical packets that wait are elsewhere.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        self.emergency.iter().filter_map(|waiting| match waiting {
            Waiting::Here(_) => None,
            Waiting::Both(_, place) | Waiting::There(place) => Some(*place),
        })
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
