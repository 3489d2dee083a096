//! From events and metrics of a step to packets.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{HealthStatus, MessagePriority, SystemHealth, TelemetryLevel, TelemetryPacket},
};

use crate::{Event, Metric, names::SEED_QUEUE_DROPPED};

/// Gathers what happens in a step and makes at most one packet per seed of it, and one for what is about no seed.
///
/// A seed's pending events are bounded: beyond the bound the oldest that is not critical goes, and the packet says how
/// many went (`seed_queue_dropped`). Critical ones never go, so a flood of them grows the queue beyond its bound.
#[derive(Clone, Debug)]
pub struct Assembler {
    source: String,
    run: TrainingRunId,
    /// What stands between the run's name and the number of a packet.
    life: String,
    max_pending: usize,
    pending: BTreeMap<Option<SeedId>, Pending>,
    sequence: u64,
}

#[derive(Clone, Debug, Default)]
struct Pending {
    events: VecDeque<Event>,
    metrics: Vec<Metric>,
    dropped: u64,
    /// The packet's number, where a draft of it has been made.
    number: Option<u64>,
    /// Critical events in that draft.
    drafted: usize,
}

impl Pending {
    fn critical(&self) -> usize {
        self.events.iter().filter(|event| event.is_critical()).count()
    }
}

impl Assembler {
    /// For packets from `source`, of the run `run`, with at most `max_pending` events of a seed waiting.
    #[must_use]
    pub fn new(source: impl Into<String>, run: TrainingRunId, max_pending: usize) -> Self {
        let life = String::new();
        Self { source: source.into(), run, life, max_pending, pending: BTreeMap::new(), sequence: 0 }
    }

    /// Numbers packets as those of this `life` of the run: `packet_id`s of two processes of one run are the same only where their
    /// lives are. The first has an empty name.
    #[must_use]
    pub fn resumed(mut self, life: &str) -> Self {
        self.life = if life.is_empty() { String::new() } else { format!("{life}-") };
        self
    }

    /// Takes in an event about `seed`, or about no seed.
    pub fn event(&mut self, seed: Option<&SeedId>, event: Event) {
        let max = self.max_pending;
        let pending = self.pending(seed);
        pending.events.push_back(event);
        if pending.events.len() > max
            && let Some(oldest) = pending.events.iter().position(|event| !event.is_critical())
        {
            pending.events.remove(oldest);
            pending.dropped += 1;
        }
    }

    /// Takes in a measurement about `seed`, or about no seed. A second of the same kind and the same attributes
    /// in one step replaces the first.
    pub fn metric(&mut self, seed: Option<&SeedId>, metric: Metric) {
        let metrics = &mut self.pending(seed).metrics;
        let same = |held: &&mut Metric| held.name == metric.name && held.attributes == metric.attributes;
        match metrics.iter_mut().find(same) {
            Some(held) => *held = metric,
            None => metrics.push(metric),
        }
    }

    /// What the packets would be that have something critical in them which no draft has had yet: for a journal, should the step
    /// never come to its end. The packets that [`assemble`](Self::assemble) makes have the same ids, and all that is here and more.
    pub fn draft_critical(&mut self, step: u64, now: UnixTime) -> Vec<TelemetryPacket> {
        let mut drafts = Vec::new();
        for (seed, pending) in &mut self.pending {
            let critical = pending.critical();
            if critical > pending.drafted {
                pending.drafted = critical;
                self.sequence += u64::from(pending.number.is_none());
                let number = *pending.number.get_or_insert(self.sequence);
                drafts.push((seed.clone(), number, pending.clone()));
            }
        }
        drafts
            .into_iter()
            .map(|(seed, number, pending)| self.packet(seed.as_ref(), number, pending, step, now))
            .collect()
    }

    /// The packets of the step `step`. What was gathered is gone from here.
    pub fn assemble(&mut self, step: u64, now: UnixTime) -> Vec<TelemetryPacket> {
        mem::take(&mut self.pending)
            .into_iter()
            .map(|(seed, pending)| {
                self.sequence += u64::from(pending.number.is_none());
                let number = pending.number.unwrap_or(self.sequence);
                self.packet(seed.as_ref(), number, pending, step, now)
            })
            .collect()
    }

    fn pending(&mut self, seed: Option<&SeedId>) -> &mut Pending {
        self.pending.entry(seed.cloned()).or_default()
    }

    fn packet(
        &self,
        seed: Option<&SeedId>,
        number: u64,
        mut pending: Pending,
        step: u64,
        now: UnixTime,
    ) -> TelemetryPacket {
        if pending.dropped > 0 {
            pending.events.push_back(Event::new(SEED_QUEUE_DROPPED).with("count", pending.dropped));
        }
        let packet_id = format!("{}-{}{number}", self.run, self.life);
        let grave = pending.events.iter().max_by_key(|event| event.name().level as i32);
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
        if let Some(seed) = seed {
            indicators.insert("seed_id".to_owned(), seed.to_string());
        }
        let summary = grave.map_or_else(String::new, |event| event.name().name.to_owned());
        let numbered = |(number, event): (usize, Event)| event.onto_wire(format!("{packet_id}-{number}"));
        TelemetryPacket {
            timestamp: Some(now.into()),
            source_subsystem: self.source.clone(),
            level: level.into(),
            metrics: pending.metrics.into_iter().map(Into::into).collect(),
            events: pending.events.into_iter().enumerate().map(numbered).collect(),
            spans: Vec::new(),
            system_health: Some(SystemHealth { status: status.into(), summary, indicators }),
            packet_id,
        }
    }
}
