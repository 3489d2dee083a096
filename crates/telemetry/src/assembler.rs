//! From events and metrics of a step to packets.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{HealthStatus, MessagePriority, SystemHealth, TelemetryLevel, TelemetryPacket},
};

use crate::{Event, Metric, Packet, names::SEED_QUEUE_DROPPED};

/// Collects the events and metrics of a step and assembles one packet for each seed that has any, and one for those that are
/// not about a seed.
///
/// The pending events of a seed are bounded. Beyond the bound the oldest event that is not critical is dropped, and the packet
/// counts the dropped ones in a `seed_queue_dropped` event. Critical events are never dropped, so a flood of them exceeds the
/// bound. Adding an event takes the same time however many are pending.
#[derive(Clone, Debug)]
pub struct Assembler {
    source: String,
    run: TrainingRunId,
    /// Between the name of the run and the number in a `packet_id`.
    life: String,
    max_pending: usize,
    pending: BTreeMap<Option<SeedId>, Pending>,
    sequence: u64,
}

/// Events with their place in the order of arrival. Two queues, so that the oldest event that may be dropped is at the front
/// of one.
#[derive(Clone, Debug, Default)]
struct Pending {
    critical: Vec<(u64, Event)>,
    others: VecDeque<(u64, Event)>,
    arrived: u64,
    metrics: Vec<Metric>,
    dropped: u64,
    /// The number of the packet, once a draft of it has been made.
    number: Option<u64>,
    /// How many critical events that draft has.
    drafted: usize,
}

impl Pending {
    fn push(&mut self, event: Event, max: usize) {
        self.arrived += 1;
        if event.is_critical() {
            self.critical.push((self.arrived, event));
        } else {
            self.others.push_back((self.arrived, event));
        }
        if self.critical.len() + self.others.len() > max && self.others.pop_front().is_some() {
            self.dropped += 1;
        }
    }

    /// In the order of arrival.
    fn into_events(self) -> Vec<Event> {
        let mut events: Vec<_> = self.critical.into_iter().chain(self.others).collect();
        events.sort_by_key(|(arrived, _)| *arrived);
        events.into_iter().map(|(_, event)| event).collect()
    }
}

impl Assembler {
    /// An assembler for packets of `run` from the subsystem `source`, with up to `max_pending` events per seed.
    #[must_use]
    pub fn new(source: impl Into<String>, run: TrainingRunId, max_pending: usize) -> Self {
        let life = String::new();
        Self { source: source.into(), run, life, max_pending, pending: BTreeMap::new(), sequence: 0 }
    }

    /// Adds `life` to every `packet_id`, so that the packets of two processes of one run have different ids. The first process
    /// has an empty one.
    #[must_use]
    pub fn resumed(mut self, life: &str) -> Self {
        self.life = if life.is_empty() { String::new() } else { format!("{life}-") };
        self
    }

    /// Adds an event about `seed`, or about the run.
    pub fn event(&mut self, seed: Option<&SeedId>, event: Event) {
        let max = self.max_pending;
        self.pending(seed).push(event, max);
    }

    /// Adds a measurement about `seed`, or about the run. It replaces an earlier one of the step that has the same name and
    /// the same attributes.
    pub fn metric(&mut self, seed: Option<&SeedId>, metric: Metric) {
        let metrics = &mut self.pending(seed).metrics;
        let same = |held: &&mut Metric| held.name == metric.name && held.attributes == metric.attributes;
        match metrics.iter_mut().find(same) {
            Some(held) => *held = metric,
            None => metrics.push(metric),
        }
    }

    /// Drafts of the packets that have critical events which are in no earlier draft. A journal keeps them in case the process
    /// dies before the step ends. [`assemble`](Self::assemble) returns packets with the same ids that hold at least the same
    /// events.
    pub fn draft_critical(&mut self, step: u64, now: UnixTime) -> Vec<Packet> {
        let mut drafts = Vec::new();
        for (seed, pending) in &mut self.pending {
            let critical = pending.critical.len();
            if critical > pending.drafted {
                pending.drafted = critical;
                self.sequence += u64::from(pending.number.is_none());
                let number = *pending.number.get_or_insert(self.sequence);
                drafts.push((seed.clone(), number, pending.clone()));
            }
        }
        drafts.into_iter().map(|(seed, number, pending)| self.packet(seed, number, pending, step, now)).collect()
    }

    /// Assembles the packets of `step`, the run's packet first, then by seed id. The assembler is empty afterwards.
    pub fn assemble(&mut self, step: u64, now: UnixTime) -> Vec<Packet> {
        mem::take(&mut self.pending)
            .into_iter()
            .map(|(seed, pending)| {
                self.sequence += u64::from(pending.number.is_none());
                let number = pending.number.unwrap_or(self.sequence);
                self.packet(seed, number, pending, step, now)
            })
            .collect()
    }

    /// An assembler for events and metrics that [`absorb`](Self::absorb) adds to this one, if they are wanted.
    pub(crate) fn scratch(&self) -> Self {
        Self {
            source: String::new(),
            run: self.run.clone(),
            life: String::new(),
            max_pending: usize::MAX,
            pending: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Adds everything that another one has collected, in its order.
    pub(crate) fn absorb(&mut self, other: Self) {
        let max = self.max_pending;
        for (seed, mut pending) in other.pending {
            for metric in mem::take(&mut pending.metrics) {
                self.metric(seed.as_ref(), metric);
            }
            let held = self.pending(seed.as_ref());
            pending.into_events().into_iter().for_each(|event| held.push(event, max));
        }
    }

    /// Whether there is something critical that no draft has.
    pub(crate) fn has_undrafted(&self) -> bool {
        self.pending.values().any(|pending| pending.critical.len() > pending.drafted)
    }

    fn pending(&mut self, seed: Option<&SeedId>) -> &mut Pending {
        self.pending.entry(seed.cloned()).or_default()
    }

    fn packet(&self, seed: Option<SeedId>, number: u64, mut pending: Pending, step: u64, now: UnixTime) -> Packet {
        let (metrics, dropped) = (mem::take(&mut pending.metrics), pending.dropped);
        let mut events = pending.into_events();
        if dropped > 0 {
            events.push(Event::new(SEED_QUEUE_DROPPED).with("count", dropped));
        }
        let packet_id = format!("{}-{}{number}", self.run, self.life);
        let grave = events.iter().max_by_key(|event| event.name().level as i32);
        let level = grave.map_or(TelemetryLevel::Info, |event| event.name().level);
        let (priority, status) = match level {
            TelemetryLevel::Unspecified | TelemetryLevel::Info => (MessagePriority::Normal, HealthStatus::Healthy),
            TelemetryLevel::Warning => (MessagePriority::High, HealthStatus::Degraded),
            TelemetryLevel::Error | TelemetryLevel::Critical => (MessagePriority::Critical, HealthStatus::Unhealthy),
        };
        let mut indicators = BTreeMap::from([
            ("priority".to_owned(), priority.as_str_name().to_owned()),
            ("step_index".to_owned(), step.to_string()),
        ]);
        if let Some(seed) = &seed {
            indicators.insert("seed_id".to_owned(), seed.to_string());
        }
        let summary = grave.map_or_else(String::new, |event| event.name().name.to_owned());
        let numbered = |(number, event): (usize, Event)| event.onto_wire(format!("{packet_id}-{number}"));
        let packet = TelemetryPacket {
            timestamp: Some(now.into()),
            source_subsystem: self.source.clone(),
            level: level.into(),
            metrics: metrics.into_iter().map(Into::into).collect(),
            events: events.into_iter().enumerate().map(numbered).collect(),
            spans: Vec::new(),
            system_health: Some(SystemHealth { status: status.into(), summary, indicators }),
            packet_id,
        };
        Packet { seed, packet: Arc::new(packet) }
    }
}
