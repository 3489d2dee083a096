//! The two lanes to a sink.

use std::collections::{BTreeMap, VecDeque};

use kasmina_leyline::v1::{TelemetryLevel, TelemetryPacket};

use crate::{Packet, Sink, SinkError};

/// The result of a drain.
#[derive(Debug, Default)]
pub struct Drained {
    /// The packets that the sink took, in order.
    pub delivered: Vec<Packet>,
    /// Why the sink stopped. The refused packet and those behind it still wait.
    pub error: Option<SinkError>,
}

/// Packets on their way to a sink. Critical packets travel on the emergency lane, which drains first and never drops. The
/// normal lane is bounded and drops its oldest packet.
///
/// While a sink is down, the owner of a journal writes the [`unspilled`](Self::unspilled) packets to it and reports their
/// positions with [`spilled`](Self::spilled). Both lanes hold up to `capacity` packets in memory. The emergency lane exceeds
/// it only with packets that have not yet been spilled.
#[derive(Debug)]
pub struct Lanes {
    emergency: VecDeque<Waiting>,
    normal: VecDeque<Packet>,
    capacity: usize,
    dropped: u64,
}

/// A critical packet.
#[derive(Debug)]
enum Waiting {
    /// Only in memory.
    Here(Packet),
    /// In memory, and in the journal at this position.
    Both(Packet, u64),
    /// Only in the journal, at this position.
    There(u64),
}

impl Lanes {
    /// Empty lanes of this capacity each, in packets.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { emergency: VecDeque::new(), normal: VecDeque::new(), capacity, dropped: 0 }
    }

    /// Puts a packet on its lane.
    pub fn push(&mut self, packet: Packet) {
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

    /// Puts a critical packet of an earlier process on the emergency lane. It is in the journal at `place`.
    pub fn push_spilled(&mut self, place: u64) {
        self.emergency.push_back(Waiting::There(place));
    }

    /// Delivers packets to the sink, emergency lane first, until the sink refuses one or none is left.
    pub fn drain(&mut self, sink: &mut dyn Sink) -> Drained {
        self.drain_with(sink, &mut |_| None)
    }

    /// Like [`drain`](Self::drain), with `recall` to read packets from the journal by their position. If it returns `None`, the
    /// drain stops and that packet waits, with everything behind it.
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
                *waiting = Waiting::Both(packet.into(), place);
            }
            if let Waiting::Here(packet) | Waiting::Both(packet, _) = waiting
                && let Err(error) = sink.deliver(&packet.packet)
            {
                drained.error = Some(error);
                return drained;
            }
            if let Some(Waiting::Here(packet) | Waiting::Both(packet, _)) = self.emergency.pop_front() {
                drained.delivered.push(packet);
            }
        }
        while let Some(packet) = self.normal.front() {
            if let Err(error) = sink.deliver(&packet.packet) {
                drained.error = Some(error);
                return drained;
            }
            drained.delivered.extend(self.normal.pop_front());
        }
        drained
    }

    /// The critical packets that are only in memory.
    pub fn unspilled(&self) -> impl Iterator<Item = &Packet> {
        self.emergency.iter().filter_map(|waiting| match waiting {
            Waiting::Here(packet) => Some(packet),
            Waiting::Both(..) | Waiting::There(_) => None,
        })
    }

    /// Records the journal positions of critical packets, by `packet_id`. Those beyond the capacity are dropped from memory.
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
                *waiting = Waiting::Both(packet.clone(), place);
            }
        }
    }

    /// The journal positions of the critical packets that wait.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        self.emergency.iter().filter_map(|waiting| match waiting {
            Waiting::Here(_) => None,
            Waiting::Both(_, place) | Waiting::There(place) => Some(*place),
        })
    }

    /// How many packets wait on the emergency lane, and on the normal lane.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.emergency.len(), self.normal.len())
    }

    /// How many packets the normal lane has dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
