//! The two lanes to a sink.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{AddAssign, Sub},
    time::Duration,
};

use kasmina_leyline::{Monotonic, SeedId, v1::TelemetryPacket};
use prost::Message;

use crate::{
    Packet, Sink, SinkError,
    offers::{Kept, Offers},
};

/// The result of a drain.
#[derive(Debug, Default)]
pub struct Drained {
    /// The packets that the sink took, in order.
    pub delivered: Vec<Packet>,
    /// Packets that the sink will not be offered again, because it refused them too often.
    pub set_aside: Vec<SetAside>,
    /// The last refusal. Packets that were refused still wait, unless they were set aside.
    pub error: Option<SinkError>,
    /// Whether the sink seems to be down: nothing that was offered after a refusal was taken.
    pub down: bool,
}

/// A packet that will not be offered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its `packet_id`; `record` and its position for one that the journal did not give back.
    pub id: String,
    /// The seed that it is about, if that is known.
    pub seed: Option<SeedId>,
}

/// How many packets are in memory, and how large they are on the wire. In memory a packet takes several times as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketBytes {
    /// Packets.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// Packets on their way to a sink. Critical packets travel on the emergency lane, which drains first; so do field reports, and what is said
/// here of critical packets holds for them. The normal lane is bounded and drops its oldest packet.
///
/// While a sink is down, the owner of a journal writes the [`unspilled`](Self::unspilled) packets to it and reports their
/// positions with [`spilled`](Self::spilled). Both lanes hold up to `capacity` packets in memory. The emergency lane exceeds it only
/// with packets that are in no journal, of which it keeps the newest [`MOST_UNSPILLED`](Self::MOST_UNSPILLED); what it sheds beyond
/// that is counted ([`shed`](Self::shed)). With a journal that can be written to, it sheds nothing.
///
/// A sink that is down and a packet that a sink will not take are different. After a refusal the next packets are offered, up to
/// [`REFUSALS_IN_A_ROW`](Self::REFUSALS_IN_A_ROW) in a row on each lane. If the sink takes one of them, it is up, and the refused packet is to
/// blame: after [`REFUSALS`](Self::REFUSALS) drains like that it is set aside. If it takes none, it is down: nothing is counted, and
/// everything waits.
///
/// A sink may take a critical packet and store it later ([`Sink::is_stored`]). Until then it counts as delivered, but its place in the
/// journal is still among the [`places`](Self::places), so that the next process delivers it again if this one dies. A sink that has
/// taken `capacity` critical packets and stored none of them is offered no more of them before it stores some: they wait.
///
/// A lane can also have a budget in bytes and a time to live ([`with_budget`](Self::with_budget)). They are for the normal lane: what is
/// critical is counted ([`critical`](Self::critical)), and kept.
#[derive(Debug)]
pub struct Lanes {
    emergency: VecDeque<Waiting>,
    /// Critical packets that the sink has taken and not stored, oldest first.
    unstored: VecDeque<Waiting>,
    /// How many of these a later drain has found unstored.
    overdue: usize,
    normal: VecDeque<Waiting>,
    capacity: usize,
    /// The budget of the normal lane, in bytes.
    budget: u64,
    ttl: Duration,
    /// The bytes on the normal lane, and those of critical packets in memory.
    bytes: u64,
    critical: PacketBytes,
    /// How many packets had come at some times in the last `ttl`, oldest first.
    marks: VecDeque<(Monotonic, u64)>,
    /// Packets that came so far.
    arrived: u64,
    /// Critical packets that are only in memory.
    here: usize,
    dropped: u64,
    shed: u64,
    /// How far behind the front the next drain looks for a packet that the sink takes, if it refuses the front.
    probe: usize,
}

/// A packet that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    /// Where it is in the order of arrival.
    pub(crate) number: u64,
    /// Where the journal has a draft of it, if it has nothing better.
    draft: Option<u64>,
    /// How large it is on the wire.
    bytes: u64,
    /// Drains that blame it for not having been delivered.
    refusals: u32,
    /// Why the drain that is going on has kept it.
    pub(crate) kept: Option<Kept>,
}

/// Where a packet is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Only in memory.
    Here(Packet),
    /// In memory, and in the journal at this position.
    Both(Packet, u64),
    /// Only in the journal, at this position.
    There(u64),
}

impl Lanes {
    /// Drains in which a sink refuses a packet, and takes others after it, before the packet is set aside. Our choice: what is wrong
    /// for a moment is over by then, a sink that refuses every second packet at random sets aside one of 256, and eight offers cost
    /// next to nothing.
    pub const REFUSALS: u32 = 8;

    /// Packets of a lane that a sink refuses one after the other before a drain leaves the lane. Our choice, the fewest that can tell a
    /// packet from its sink: one that is down costs four offers a flush.
    pub const REFUSALS_IN_A_ROW: usize = 2;

    /// Critical packets that are in no journal and that wait for a sink. Our choice: some 60 MB, in packets
    /// with one event each.
    pub const MOST_UNSPILLED: usize = 10_000;

    /// Empty lanes of this capacity each, in packets.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            emergency: VecDeque::new(),
            unstored: VecDeque::new(),
            overdue: 0,
            normal: VecDeque::new(),
            capacity,
            budget: u64::MAX,
            ttl: Duration::MAX,
            bytes: 0,
            critical: PacketBytes { packets: 0, bytes: 0 },
            marks: VecDeque::new(),
            arrived: 0,
            here: 0,
            dropped: 0,
            shed: 0,
            probe: 0,
        }
    }

    /// The capacity, in packets.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The same, and the normal lane holds at most so many bytes, and after [`collect`](Self::collect) nothing that is older than `ttl`.
    #[must_use]
    pub const fn with_budget(mut self, bytes: u64, ttl: Duration) -> Self {
        (self.budget, self.ttl) = (bytes, ttl);
        self
    }

    /// Puts a packet on its lane. Returns those that had to go because there was no room, which may be the packet itself.
    pub fn push(&mut self, packet: Packet) -> Vec<Packet> {
        self.push_drafted(packet, None)
    }

    /// The same, for a packet of which a draft is in the journal at this place: it says at least what is critical and was there by then.
    pub fn push_drafted(&mut self, packet: Packet, draft: Option<u64>) -> Vec<Packet> {
        let critical = Packet::must_arrive(&packet);
        let waiting = Waiting { draft, ..self.waiting_at(Place::Here(packet)) };
        if critical {
            self.critical.add(&waiting);
            self.emergency.push_back(waiting);
            self.here += 1;
            return self.shed_oldest().into_iter().collect();
        }
        self.bytes += waiting.bytes;
        self.normal.push_back(waiting);
        let mut lost = Vec::new();
        while self.normal.len() > self.capacity || self.bytes > self.budget {
            let Some(oldest) = self.drop_oldest() else { break };
            lost.push(oldest);
        }
        lost
    }

    /// Drops critical packets that no journal has, beyond the bound.
    fn shed_oldest(&mut self) -> Option<Packet> {
        if self.here <= Self::MOST_UNSPILLED {
            return None;
        }
        let oldest = self.emergency.iter().position(Waiting::is_here)?;
        (self.here, self.shed) = (self.here - 1, self.shed + 1);
        let oldest = self.emergency.remove(oldest)?;
        self.critical.packets -= 1;
        self.critical.bytes -= oldest.bytes;
        oldest.into_packet()
    }

    /// Drops the oldest packet of the normal lane, and counts it.
    fn drop_oldest(&mut self) -> Option<Packet> {
        let oldest = self.normal.pop_front()?;
        self.bytes -= oldest.bytes;
        self.dropped += 1;
        oldest.into_packet()
    }

    /// Drops what has waited on the normal lane for longer than its time to live, and returns it. A packet's age counts from a
    /// call that finds it waiting: the first one, or one that comes a sixteenth of the time to live later at most.
    pub fn collect(&mut self, now: Monotonic) -> Vec<Packet> {
        let mut expired = 0;
        while let Some((seen, arrived)) = self.marks.front().filter(|(seen, _)| now.since(*seen) >= self.ttl) {
            debug_assert!(*seen <= now);
            expired = *arrived;
            self.marks.pop_front();
        }
        // A mark in each sixteenth of the time to live is enough, however often this is called.
        let due = self.marks.back().is_none_or(|(seen, _)| now.since(*seen) >= self.ttl / 16);
        if due && !self.normal.is_empty() {
            self.marks.push_back((now, self.arrived));
        }
        let count = self.normal.iter().take_while(|waiting| waiting.number <= expired).count();
        (0..count).filter_map(|_| self.drop_oldest()).collect()
    }

    /// Drops the whole normal lane, and returns it.
    pub fn purge(&mut self) -> Vec<Packet> {
        (0..self.normal.len()).filter_map(|_| self.drop_oldest()).collect()
    }

    /// What is on the normal lane.
    #[must_use]
    pub fn normal(&self) -> PacketBytes {
        PacketBytes { packets: self.normal.len() as u64, bytes: self.bytes }
    }

    /// The critical packets in memory, with those that the sink has taken and not stored. Those that are only in the journal do not count.
    #[must_use]
    pub const fn critical(&self) -> PacketBytes {
        self.critical
    }

    /// Counts anew what is in memory.
    fn recount(&mut self) {
        self.here = self.emergency.iter().filter(|waiting| waiting.is_here()).count();
        self.bytes = self.normal.iter().map(|waiting| waiting.bytes).sum();
        self.critical = PacketBytes::default();
        for waiting in self.emergency.iter().chain(&self.unstored).filter(|waiting| waiting.is_in_memory()) {
            self.critical.add(waiting);
        }
    }

    /// Puts a critical packet on the emergency lane that is in the journal at `place`.
    pub fn push_journaled(&mut self, packet: Packet, place: u64) {
        let room = self.emergency.len() < self.capacity;
        let place = if room { Place::Both(packet, place) } else { Place::There(place) };
        let waiting = self.waiting_at(place);
        if room {
            self.critical.add(&waiting);
        }
        self.emergency.push_back(waiting);
    }

    /// Puts a critical packet of an earlier process on the emergency lane. It is in the journal at `place`.
    pub fn push_spilled(&mut self, place: u64) {
        let waiting = self.waiting_at(Place::There(place));
        self.emergency.push_back(waiting);
    }

    /// Delivers packets to the sink, emergency lane first, until the sink seems to be down or each was offered once.
    pub fn drain(&mut self, sink: &mut dyn Sink) -> Drained {
        self.drain_with(sink, &mut |_| None)
    }

    /// Like [`drain`](Self::drain), with `recall` to read packets from the journal by their position. If it returns `None`, that
    /// packet waits, and others go on. If that happens as often as a refusal, and others can be read, it is set aside.
    pub fn drain_with(
        &mut self,
        sink: &mut dyn Sink,
        recall: &mut dyn FnMut(u64) -> Option<TelemetryPacket>,
    ) -> Drained {
        while self.unstored.front().is_some_and(|oldest| sink.is_stored(&oldest.name().0)) {
            self.unstored.pop_front();
        }
        self.overdue = self.unstored.len();
        let mut offers = Offers::new(sink, recall);
        let room = self.capacity.max(1).saturating_sub(self.unstored.len());
        offers.drain(&mut self.emergency, self.probe, room);
        offers.drain(&mut self.normal, self.probe, usize::MAX);
        for lane in [&mut self.emergency, &mut self.normal] {
            for waiting in lane.iter_mut() {
                waiting.refusals += u32::from(waiting.kept.take().is_some_and(|kept| offers.blames(kept)));
            }
            if lane.iter().any(Waiting::is_to_blame) {
                let (aside, stay) = std::mem::take(lane).into_iter().partition(Waiting::is_to_blame);
                *lane = stay;
                offers.set_aside(aside);
            }
        }
        self.unstored.extend(offers.take_unstored());
        let drained = offers.finish();
        self.probe = if drained.down { self.probe + Self::REFUSALS_IN_A_ROW - 1 } else { 0 };
        for waiting in self.emergency.iter_mut().skip(self.capacity) {
            if let Place::Both(_, place) = waiting.place {
                waiting.place = Place::There(place);
            }
        }
        self.recount();
        drained
    }

    /// The critical packets that are only in memory, with those that the sink has had since the last drain and not stored.
    pub fn unspilled(&self) -> impl Iterator<Item = &Packet> {
        let overdue = self.unstored.iter().take(self.overdue);
        self.emergency.iter().chain(overdue).filter_map(|waiting| match &waiting.place {
            Place::Here(packet) => Some(packet),
            Place::Both(..) | Place::There(_) => None,
        })
    }

    /// Records the journal positions of critical packets, by `packet_id`. Those beyond the capacity are dropped from memory.
    pub fn spilled(&mut self, places: &BTreeMap<String, u64>) {
        for (number, waiting) in self.emergency.iter_mut().enumerate() {
            let place = match &waiting.place {
                Place::Here(packet) => places.get(&packet.packet_id).copied(),
                Place::Both(_, place) => Some(*place),
                Place::There(_) => None,
            };
            let Some(place) = place else { continue };
            if number >= self.capacity {
                waiting.place = Place::There(place);
            } else if let Place::Here(packet) = &waiting.place {
                waiting.place = Place::Both(packet.clone(), place);
            }
        }
        for waiting in &mut self.unstored {
            if let Place::Here(packet) = &waiting.place
                && let Some(place) = places.get(&packet.packet_id)
            {
                waiting.place = Place::Both(packet.clone(), *place);
            }
        }
        self.recount();
    }

    /// The journal positions of the critical packets that wait, or that the sink has taken and not stored.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        self.emergency.iter().chain(&self.unstored).filter_map(|waiting| match waiting.place {
            Place::Here(_) => waiting.draft,
            Place::Both(_, place) | Place::There(place) => Some(place),
        })
    }

    /// How many critical packets the sink has taken and not stored.
    #[must_use]
    pub fn unstored(&self) -> usize {
        self.unstored.len()
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

    /// How many critical packets the emergency lane has shed so far because no journal had them.
    #[must_use]
    pub const fn shed(&self) -> u64 {
        self.shed
    }
}

impl Lanes {
    fn waiting_at(&mut self, place: Place) -> Waiting {
        self.arrived += 1;
        let bytes = match &place {
            Place::Here(packet) | Place::Both(packet, _) => packet.packet.encoded_len() as u64,
            Place::There(_) => 0,
        };
        Waiting { place, number: self.arrived, bytes, draft: None, refusals: 0, kept: None }
    }
}

impl AddAssign for PacketBytes {
    fn add_assign(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

impl Sub for PacketBytes {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self { packets: self.packets.saturating_sub(less.packets), bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

impl PacketBytes {
    const fn add(&mut self, waiting: &Waiting) {
        self.packets += 1;
        self.bytes += waiting.bytes;
    }
}

impl Waiting {
    const fn is_to_blame(&self) -> bool {
        self.refusals >= Lanes::REFUSALS
    }

    /// Its id, or where it would be, and the seed that it is about.
    pub(crate) fn name(&self) -> (String, Option<SeedId>) {
        match &self.place {
            Place::Here(packet) | Place::Both(packet, _) => (packet.packet_id.clone(), packet.seed.clone()),
            Place::There(place) => (format!("record {place}"), None),
        }
    }

    /// The journal has given it back.
    pub(crate) fn recalled(&mut self, packet: TelemetryPacket, place: u64) {
        self.bytes = packet.encoded_len() as u64;
        self.place = Place::Both(packet.into(), place);
    }

    const fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Here(_) | Place::Both(..))
    }

    const fn is_here(&self) -> bool {
        matches!(self.place, Place::Here(_))
    }

    pub(crate) fn into_packet(self) -> Option<Packet> {
        match self.place {
            Place::Here(packet) | Place::Both(packet, _) => Some(packet),
            Place::There(_) => None,
        }
    }
}
