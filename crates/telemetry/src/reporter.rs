//! Telemetry on its way to the sinks.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use kasmina_leyline::{CommandId, SeedId, UnixTime, v1::TelemetryPacket};

use crate::{Assembler, Event, Lanes, Metric, Packet, Sink, names};

/// Collects events and metrics of a step, makes packets of them, and hands those to the sinks. Time is an argument.
pub struct Reporter {
    assembler: Assembler,
    outlets: Vec<Outlet>,
    /// Packets made about each seed since it entered its stage.
    due: BTreeMap<SeedId, u64>,
    /// Rejected commands that name no id, by reason. Emitted once a step with their number, so that a flood fills no memory.
    unauthenticated: BTreeMap<&'static str, u64>,
    /// How often each rejected command has come again since the last flush, by reason. Only the first time is an event of its own.
    repeated: BTreeMap<(&'static str, CommandId), u64>,
    /// Places in the journal of drafts of packets that have not been made yet.
    drafts: BTreeMap<String, u64>,
}

/// A sink and what is on its way there.
struct Outlet {
    lanes: Lanes,
    sink: Box<dyn Sink>,
    /// Whether the last packet was refused.
    failing: bool,
    /// Dropped packets that an event has counted.
    drops_emitted: u64,
    /// Packets about each seed that the sink has taken since the seed entered its stage.
    delivered: BTreeMap<SeedId, u64>,
}

/// Telemetry with the events of decisions that are not committed. Dropping it emits nothing.
pub struct Draft {
    assembler: Assembler,
    packets: Vec<Arc<TelemetryPacket>>,
}

impl Draft {
    /// The packets with something critical in them that no journal holds.
    #[must_use]
    pub fn packets(&self) -> &[Arc<TelemetryPacket>] {
        &self.packets
    }
}

impl Reporter {
    /// Hands the packets of `assembler` to `sinks`. `capacity` bounds the packets in each lane of each sink: [`Lanes::new`].
    #[must_use]
    pub fn new(assembler: Assembler, sinks: Vec<Box<dyn Sink>>, capacity: usize) -> Self {
        let outlet = |sink| Outlet {
            lanes: Lanes::new(capacity),
            sink,
            failing: false,
            drops_emitted: 0,
            delivered: BTreeMap::new(),
        };
        let outlets = sinks.into_iter().map(outlet).collect();
        Self {
            assembler,
            outlets,
            due: BTreeMap::new(),
            unauthenticated: BTreeMap::new(),
            repeated: BTreeMap::new(),
            drafts: BTreeMap::new(),
        }
    }

    /// Adds an event to the next packet about the seed, or about the run.
    pub fn emit(&mut self, seed: Option<&SeedId>, event: Event) {
        self.assembler.event(seed, event);
    }

    /// Adds a metric to the next packet about the seed, or about the run.
    pub fn metric(&mut self, seed: Option<&SeedId>, metric: Metric) {
        self.assembler.metric(seed, metric);
    }

    /// Writes several events and metrics.
    pub fn write(&mut self, write: impl FnOnce(&mut Assembler)) {
        write(&mut self.assembler);
    }

    /// A command was rejected. Commands that name no id are counted by reason, and each count is one event of the next flush; so is
    /// the number of times that the same command came again.
    pub fn rejected(&mut self, reason: &'static str, id: Option<&CommandId>) {
        match id {
            None => *self.unauthenticated.entry(reason).or_default() += 1,
            Some(id) => match self.repeated.entry((reason, id.clone())) {
                Entry::Occupied(mut repeated) => *repeated.get_mut() += 1,
                Entry::Vacant(first) => {
                    first.insert(0);
                    self.emit(None, Event::new(names::COMMAND_REJECTED).with("reason", reason).with("command_id", id));
                }
            },
        }
    }

    /// What telemetry would be with these events and metrics.
    #[must_use]
    pub fn draft(&self, step: u64, now: UnixTime, write: impl FnOnce(&mut Assembler)) -> Draft {
        let mut assembler = self.assembler.clone();
        write(&mut assembler);
        let packets = if self.outlets.is_empty() {
            Vec::new()
        } else {
            assembler.draft_critical(step, now).into_iter().map(|draft| draft.packet).collect()
        };
        Draft { assembler, packets }
    }

    /// Emits what was drafted. Its critical packets are at these places of the journal.
    pub fn adopt(&mut self, draft: Draft, places: Vec<u64>) {
        let Draft { assembler, packets } = draft;
        self.assembler = assembler;
        self.drafts.extend(packets.into_iter().map(|packet| packet.packet_id.clone()).zip(places));
    }

    /// Goes on after a restart: critical packets that no sink had taken are at these places.
    pub fn resume(&mut self, life: &str, undelivered: &BTreeSet<u64>) {
        self.assembler = self.assembler.clone().resumed(life);
        for outlet in &mut self.outlets {
            undelivered.iter().for_each(|place| outlet.lanes.push_spilled(*place));
        }
    }

    /// Critical packets that a sink has not taken and that are nowhere but in memory, once each.
    #[must_use]
    pub fn unspilled(&self) -> Vec<Arc<TelemetryPacket>> {
        let packets = self.outlets.iter().flat_map(|outlet| outlet.lanes.unspilled());
        let by_id: BTreeMap<_, _> = packets.map(|packet| (&packet.packet_id, &packet.packet)).collect();
        by_id.into_values().map(Arc::clone).collect()
    }

    /// Those packets are at these places of the journal, by their ids.
    pub fn spilled_to(&mut self, places: &BTreeMap<String, u64>) {
        self.outlets.iter_mut().for_each(|outlet| outlet.lanes.spilled(places));
    }

    /// Places in the journal of critical packets that a sink has not taken, and of drafts.
    #[must_use]
    pub fn undelivered(&self) -> BTreeSet<u64> {
        let waiting = self.outlets.iter().flat_map(|outlet| outlet.lanes.places());
        waiting.chain(self.drafts.values().copied()).collect()
    }

    /// Makes the packets of the step and hands them to the sinks, after what those did not take before. `recall` reads a packet
    /// back from the journal.
    pub fn flush(&mut self, step: u64, now: UnixTime, recall: &mut dyn FnMut(u64) -> Option<TelemetryPacket>) {
        for (reason, count) in std::mem::take(&mut self.unauthenticated) {
            self.emit(None, Event::new(names::COMMAND_REJECTED).with("reason", reason).with("count", count));
        }
        for ((reason, id), count) in std::mem::take(&mut self.repeated).into_iter().filter(|(_, count)| *count > 0) {
            let event = Event::new(names::COMMAND_REJECTED).with("reason", reason).with("command_id", id);
            self.emit(None, event.with("count", count));
        }
        let waiting = self.outlets.iter().map(|outlet| outlet.lanes.waiting().0).max().unwrap_or_default();
        if waiting > 0 {
            self.metric(None, Metric::new(names::EMERGENCY_WAITING, waiting as f64));
        }
        // What a draft says and more goes to the sinks now, or into the journal.
        self.drafts.clear();
        for packet in self.assembler.assemble(step, now) {
            self.push(&packet);
        }
        for outlet in &mut self.outlets {
            let drained = outlet.lanes.drain_with(&mut *outlet.sink, recall);
            for seed in drained.delivered.into_iter().filter_map(|packet| packet.seed) {
                *outlet.delivered.entry(seed).or_default() += 1;
            }
            // Emitted with the next step, to every sink: once when a sink begins to fail, and how much has been lost since.
            if let Some(error) = drained.error.as_ref().filter(|_| !outlet.failing) {
                let event = Event::new(names::SINK_FAILED).with("sink", error.sink).with("detail", error);
                self.assembler.event(None, event);
            }
            outlet.failing = drained.error.is_some();
            let dropped = outlet.lanes.dropped();
            if dropped > outlet.drops_emitted {
                let count = dropped - outlet.drops_emitted;
                self.assembler.event(None, Event::new(names::PACKETS_DROPPED).with("count", count));
                outlet.drops_emitted = dropped;
            }
        }
    }

    fn push(&mut self, packet: &Packet) {
        if let Some(seed) = &packet.seed {
            *self.due.entry(seed.clone()).or_default() += 1;
        }
        self.outlets.iter_mut().for_each(|outlet| outlet.lanes.push(packet.clone()));
    }

    /// Packets about the seed that were due since it entered its stage, and those that every sink has taken.
    #[must_use]
    pub fn packets(&self, seed: &SeedId) -> (u64, u64) {
        let due = self.due.get(seed).copied().unwrap_or_default();
        let delivered = |outlet: &Outlet| outlet.delivered.get(seed).copied().unwrap_or_default();
        (due, self.outlets.iter().map(delivered).min().unwrap_or(due))
    }

    /// The seed has entered a stage.
    pub fn count_packets_from_here(&mut self, seed: &SeedId) {
        self.due.remove(seed);
        for outlet in &mut self.outlets {
            outlet.delivered.remove(seed);
        }
    }
}
