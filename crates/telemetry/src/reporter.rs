//! Telemetry on its way to the sinks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kasmina_leyline::{CommandId, Monotonic, SeedId, UnixTime, v1::TelemetryPacket};

use crate::{Assembler, Drained, Event, Health, Lanes, Metric, Packet, PacketBytes, Sink, assembler::Drafted, names};

/// Collects events and metrics of a step, makes packets of them, and hands those to the sinks. Time is an argument. Without a sink it
/// collects nothing.
pub struct Reporter {
    assembler: Assembler,
    outlets: Vec<Outlet>,
    /// Packets made about each seed since it entered its stage.
    due: BTreeMap<SeedId, u64>,
    /// Rejected commands since the last flush, by reason.
    rejections: BTreeMap<&'static str, Rejections>,
    /// Places in the journal of drafts of packets that have not been made yet, by their ids.
    drafts: BTreeMap<String, u64>,
    /// Whether critical packets go into a journal before the flush.
    journaled: bool,
    /// The step of the last flush.
    step: Option<u64>,
    /// Flushes, at most one a step counted.
    flushes: u64,
    /// Whether the last packets about the run said that critical packets wait.
    waited: bool,
}

/// Rejected commands of one reason.
#[derive(Debug, Default)]
struct Rejections {
    count: u64,
    examples: Vec<CommandId>,
}

/// A sink and what is on its way there.
struct Outlet {
    lanes: Lanes,
    sink: Box<dyn Sink>,
    /// Whether the last drain had a refusal.
    failing: bool,
    /// Critical packets that the last drain left.
    left: usize,
    /// Dropped packets that an event has counted.
    drops_emitted: u64,
    /// Shed critical packets that an event has counted.
    sheds_emitted: u64,
    /// Packets about each seed that are settled since the seed entered its stage: the sink has taken them, or an event counts them as
    /// dropped or set aside.
    settled: BTreeMap<SeedId, u64>,
    /// Packets about each seed from before it entered its stage that were not settled then. They are settled first.
    earlier: BTreeMap<SeedId, u64>,
}

impl Outlet {
    fn settle(&mut self, seed: Option<SeedId>) {
        let Some(seed) = seed else { return };
        match self.earlier.get_mut(&seed) {
            Some(left @ 2..) => *left -= 1,
            Some(_) => drop(self.earlier.remove(&seed)),
            None => *self.settled.entry(seed).or_default() += 1,
        }
    }
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Every sink that was offered something seems to be down, so nothing was delivered: what a breaker counts as a failure. One sink of
    /// several that is down is not a failure, because a breaker that opens would stop the others too.
    pub failed: bool,
    /// Sinks that seem to be down.
    pub down: usize,
    /// Packets that sinks took, each counted once for each sink.
    pub delivered: u64,
}

/// Telemetry with the events of decisions that are not committed. Dropping it emits nothing.
pub struct Draft {
    /// Nothing if there is no sink.
    additions: Option<Assembler>,
    drafts: Vec<Drafted>,
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
    /// Ids of rejected commands that an event names, for each reason. Our choice: enough to look for in a sender's log.
    pub const EXAMPLES: usize = 3;

    /// Flushes between two summaries of samples, at most one a step counted; see [`Kind::Sample`](crate::Kind::Sample). Our choice: one in a hundred steps keeps
    /// them below a tenth of all points.
    pub const SUMMARY_EVERY: u64 = 100;

    /// Hands the packets of `assembler` to `sinks`. `capacity` bounds the packets in each lane of each sink: [`Lanes::new`].
    #[must_use]
    pub fn new(assembler: Assembler, sinks: Vec<Box<dyn Sink>>, capacity: usize) -> Self {
        let outlet = |sink| Outlet {
            lanes: Lanes::new(capacity),
            sink,
            failing: false,
            left: 0,
            drops_emitted: 0,
            sheds_emitted: 0,
            settled: BTreeMap::new(),
            earlier: BTreeMap::new(),
        };
        let outlets = sinks.into_iter().map(outlet).collect();
        let (due, rejections) = (BTreeMap::new(), BTreeMap::new());
        let drafts = BTreeMap::new();
        Self { assembler, outlets, due, rejections, drafts, journaled: true, step: None, flushes: 0, waited: false }
    }

    /// Whether there is no sink, so that nothing that is written goes anywhere.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.outlets.is_empty()
    }

    /// Lets the packets that wait for one sink and are not critical have at most so many bytes, on the wire, and drops those that have
    /// waited for longer than `ttl` whenever it is [asked to](Self::collect).
    #[must_use]
    pub fn with_budget(mut self, bytes: u64, ttl: Duration) -> Self {
        for outlet in &mut self.outlets {
            outlet.lanes = Lanes::new(outlet.lanes.capacity()).with_budget(bytes, ttl);
        }
        self
    }

    /// The packets that wait for a sink, and of those the critical ones that are in memory. One that waits for two sinks counts twice.
    #[must_use]
    pub fn held(&self) -> (PacketBytes, PacketBytes) {
        let mut held = (PacketBytes::default(), PacketBytes::default());
        for lanes in self.outlets.iter().map(|outlet| &outlet.lanes) {
            held.0 += lanes.normal();
            held.0 += lanes.critical();
            held.1 += lanes.critical();
        }
        held
    }

    /// Drops packets that have waited for longer than their time to live and are not critical. The next flush has an event that counts
    /// them.
    pub fn collect(&mut self, now: Monotonic) -> PacketBytes {
        self.drop_packets(|lanes| lanes.collect(now))
    }

    /// Drops every packet that waits and is not critical. The next flush has an event that counts them.
    pub fn purge(&mut self) -> PacketBytes {
        self.drop_packets(Lanes::purge)
    }

    fn drop_packets(&mut self, drop: impl Fn(&mut Lanes) -> Vec<Packet>) -> PacketBytes {
        let mut dropped = PacketBytes::default();
        for outlet in &mut self.outlets {
            let before = outlet.lanes.normal();
            drop(&mut outlet.lanes).into_iter().for_each(|packet| outlet.settle(packet.seed));
            dropped += before - outlet.lanes.normal();
        }
        dropped
    }

    /// Says whether there is a journal for drafts; at first there is. Without one, what is critical waits for the flush with the rest.
    pub const fn set_journaled(&mut self, journaled: bool) {
        self.journaled = journaled;
    }

    /// The state of the system from now on; see [`Health`].
    pub fn set_health(&mut self, health: Health) {
        self.assembler.set_health(health);
    }

    /// Whether what is written once an interval is due with the next flush: it is with the first, and with every
    /// [`SUMMARY_EVERY`](Self::SUMMARY_EVERY)th after it.
    #[must_use]
    pub const fn is_summary_due(&self) -> bool {
        self.flushes.is_multiple_of(Self::SUMMARY_EVERY)
    }

    /// Adds an event to the next packet about the seed, or about the run.
    pub fn emit(&mut self, seed: Option<&SeedId>, event: Event) {
        self.write(|to| to.event(seed, event));
    }

    /// Adds a metric to the next packet about the seed, or about the run.
    pub fn metric(&mut self, seed: Option<&SeedId>, metric: Metric) {
        self.write(|to| to.metric(seed, metric));
    }

    /// Writes several events and metrics. It is not called if nobody would read them.
    pub fn write(&mut self, write: impl FnOnce(&mut Assembler)) {
        if !self.is_silent() {
            write(&mut self.assembler);
        }
    }

    /// A command was rejected. Anybody can cause that, with or without the key: rejections are counted by reason, and each reason
    /// is one event of the next flush, with up to [`Reporter::EXAMPLES`] ids. So a flood fills no memory and no journal.
    pub fn rejected(&mut self, reason: &'static str, id: Option<&CommandId>) {
        if self.is_silent() {
            return;
        }
        let rejections = self.rejections.entry(reason).or_default();
        rejections.count += 1;
        if let Some(id) =
            id.filter(|id| rejections.examples.len() < Self::EXAMPLES && !rejections.examples.contains(id))
        {
            rejections.examples.push(id.clone());
        }
    }

    /// What telemetry would be with these events and metrics.
    ///
    /// What is critical goes into the journal with the batch that causes it, so the packet about the same seed, or about the run, is drafted
    /// as far as it has come; a later draft of it has the same id and says at least the same. A draft of 16 critical events is the whole
    /// packet, and what comes after it goes into another, so that no batch writes more than that again, however long the next flush
    /// takes to come.
    #[must_use]
    pub fn draft(&mut self, step: u64, now: UnixTime, write: impl FnOnce(&mut Assembler)) -> Draft {
        if self.is_silent() {
            return Draft { additions: None, drafts: Vec::new(), packets: Vec::new() };
        }
        let mut additions = self.assembler.scratch();
        write(&mut additions);
        let drafts = if self.journaled { self.assembler.draft(&additions, step, now) } else { Vec::new() };
        let packets = drafts.iter().map(|draft| Arc::clone(&draft.packet.packet)).collect();
        Draft { additions: Some(additions), drafts, packets }
    }

    /// Emits what was drafted. Its packets are at these places of the journal; if they are not all there, their events wait for the
    /// flush with the rest. Between the draft and this nothing may be written: it could be lost.
    pub fn adopt(&mut self, draft: Draft, places: Vec<u64>) {
        let Draft { additions: Some(additions), drafts, packets } = draft else { return };
        if places.len() != packets.len() || drafts.is_empty() {
            self.assembler.absorb(additions);
            return;
        }
        self.assembler.adopt(additions, &drafts);
        for (draft, place) in drafts.into_iter().zip(places) {
            if draft.is_sealed() {
                self.drafts.remove(&draft.packet.packet_id);
                self.count_due(&draft.packet);
                self.outlets.iter_mut().for_each(|outlet| outlet.lanes.push_journaled(draft.packet.clone(), place));
            } else {
                self.drafts.insert(draft.packet.packet_id.clone(), place);
            }
        }
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
    /// back from the journal. A sink that is down stops no other.
    pub fn flush(
        &mut self,
        step: u64,
        now: UnixTime,
        recall: &mut dyn FnMut(u64) -> Option<TelemetryPacket>,
    ) -> Flushed {
        self.hold(step, now);
        let (mut flushed, mut offered) = (Flushed::default(), 0);
        for outlet in &mut self.outlets {
            offered += usize::from(outlet.lanes.waiting() != (0, 0));
            let drained = outlet.lanes.drain_with(&mut *outlet.sink, recall);
            outlet.left = outlet.lanes.waiting().0;
            flushed.down += usize::from(drained.down);
            flushed.delivered += drained.delivered.len() as u64;
            // Emitted with the next step, to every sink.
            outlet.events(&drained).into_iter().for_each(|event| self.assembler.event(None, event));
            drained.delivered.into_iter().for_each(|packet| outlet.settle(packet.seed));
            drained.set_aside.into_iter().for_each(|aside| outlet.settle(aside.seed));
        }
        flushed.failed = flushed.down > 0 && flushed.down == offered;
        flushed
    }

    /// Makes the packets of the step and lets them wait, offering nothing to any sink: for a breaker that is open.
    pub fn hold(&mut self, step: u64, now: UnixTime) {
        if self.is_silent() {
            return;
        }
        self.emit_rejections();
        let waiting = self.outlets.iter().map(|outlet| outlet.left).max().unwrap_or_default();
        // A gauge that nobody sets to 0 stays where it was.
        if std::mem::replace(&mut self.waited, waiting > 0) || waiting > 0 {
            self.metric(None, Metric::new(names::EMERGENCY_WAITING, waiting as f64));
        }
        // A second flush in a step has no summary: a seed has one packet a step.
        let first_of_step = self.step.replace(step) != Some(step);
        if first_of_step && self.flushes > 0 && self.is_summary_due() {
            self.assembler.summarise();
        }
        self.flushes += u64::from(first_of_step);
        let drafts = std::mem::take(&mut self.drafts);
        for packet in self.assembler.assemble(step, now) {
            self.push(&packet, drafts.get(&packet.packet_id).copied());
        }
    }

    /// One event for each reason, and the counters.
    fn emit_rejections(&mut self) {
        for (reason, Rejections { count, examples }) in std::mem::take(&mut self.rejections) {
            self.assembler.count(Metric::new(names::COMMANDS_REJECTED, count as f64).with("reason", reason));
            let event = Event::new(names::COMMAND_REJECTED).with("reason", reason).with("count", count);
            let ids: Vec<_> = examples.iter().map(CommandId::as_str).collect();
            let event = if ids.is_empty() { event } else { event.with("command_id", ids.join(" ")) };
            self.emit(None, event);
        }
    }

    fn push(&mut self, packet: &Packet, draft: Option<u64>) {
        self.count_due(packet);
        for outlet in &mut self.outlets {
            let lost = outlet.lanes.push_drafted(packet.clone(), draft);
            lost.into_iter().for_each(|packet| outlet.settle(packet.seed));
        }
    }

    fn count_due(&mut self, packet: &Packet) {
        if let Some(seed) = &packet.seed {
            *self.due.entry(seed.clone()).or_default() += 1;
        }
    }

    /// Packets about the seed that were due since it entered its stage, and those that are settled with every sink: taken, or dropped or
    /// set aside, which an event counts. The others are still on their way.
    #[must_use]
    pub fn packets(&self, seed: &SeedId) -> (u64, u64) {
        let due = self.due.get(seed).copied().unwrap_or_default();
        let settled = |outlet: &Outlet| outlet.settled.get(seed).copied().unwrap_or_default().min(due);
        (due, self.outlets.iter().map(settled).min().unwrap_or(due))
    }

    /// The seed has entered a stage, or is forgotten.
    pub fn count_packets_from_here(&mut self, seed: &SeedId) {
        let due = self.due.remove(seed).unwrap_or_default();
        for outlet in &mut self.outlets {
            let left = due.saturating_sub(outlet.settled.remove(seed).unwrap_or_default());
            if left > 0 {
                *outlet.earlier.entry(seed.clone()).or_default() += left;
            }
        }
    }
}

impl Outlet {
    /// What there is to emit about a drain: once when the sink begins to fail, and how much has been lost since the last one.
    fn events(&mut self, drained: &Drained) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(error) = drained.error.as_ref().filter(|_| !self.failing) {
            events.push(Event::new(names::SINK_FAILED).with("sink", error.sink).with("detail", error));
        }
        self.failing = drained.error.is_some();
        if let Some(error) = drained.error.as_ref().filter(|_| !drained.set_aside.is_empty()) {
            let ids: Vec<_> =
                drained.set_aside.iter().take(Reporter::EXAMPLES).map(|aside| aside.id.as_str()).collect();
            let event = Event::new(names::PACKET_SET_ASIDE)
                .with("sink", error.sink)
                .with("count", drained.set_aside.len())
                .with("packet_id", ids.join(" "))
                .with("detail", error);
            events.push(event);
        }
        for (name, lost, emitted) in [
            (names::PACKETS_DROPPED, self.lanes.dropped(), &mut self.drops_emitted),
            (names::CRITICAL_PACKETS_SHED, self.lanes.shed(), &mut self.sheds_emitted),
        ] {
            if lost > *emitted {
                events.push(Event::new(name).with("count", lost - *emitted));
                *emitted = lost;
            }
        }
        events
    }
}
