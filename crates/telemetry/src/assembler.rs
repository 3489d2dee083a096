//! From events and metrics of a step to packets.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{HealthStatus, MessagePriority, SystemHealth, TelemetryLevel, TelemetryPacket},
};

use crate::{Event, Health, Metric, Packet, interval::Interval, names::Kind, pending::Pending};

/// Collects the events and metrics of a step and assembles one packet for each seed that has any, and one for those that are
/// not about a seed.
///
/// The pending events of a seed are bounded. Beyond `max_pending` the oldest event that is not critical is dropped, and the packet
/// counts the dropped ones in a `seed_queue_dropped` event. Critical events are not dropped for that; beyond 1,000 of one seed,
/// those of one name become one event of that name with a `count`. Adding an event takes the same time however many are pending.
#[derive(Clone, Debug)]
pub struct Assembler {
    source: String,
    run: TrainingRunId,
    /// Between the name of the run and the number in a `packet_id`.
    life: String,
    max_pending: usize,
    pending: BTreeMap<Option<SeedId>, Pending>,
    sequence: u64,
    health: Health,
    totals: Vec<Total>,
    /// Samples since the last summary.
    intervals: BTreeMap<Option<SeedId>, Vec<Interval>>,
}

/// A counter.
#[derive(Clone, Debug)]
struct Total {
    /// The metric, with the count so far.
    metric: Metric,
    /// Whether it has grown since it was last in a packet.
    grown: bool,
}

/// A packet as far as it has come before its step ends, so that a journal can hold it.
pub(crate) struct Drafted {
    pub(crate) packet: Packet,
    number: u64,
    /// How many critical events it has.
    critical: usize,
}

impl Drafted {
    /// Critical events of a draft that nothing is added to any more. Our choice: far more than a step causes about one seed, and few
    /// enough that writing them again with each new one costs next to nothing.
    pub(crate) const SEALED_AT: usize = 16;

    /// Whether this is the whole packet: what comes now about the same seed goes into another.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.critical >= Self::SEALED_AT
    }
}

impl Assembler {
    /// Seeds that have events of their own at a time. Our choice: far more than a network has. Events about further seeds go with those
    /// of the run, with an attribute `seed_id`, so that made-up names fill no memory.
    pub const MOST_SEEDS: usize = 1_024;

    /// An assembler for packets of `run` from the subsystem `source`, with up to `max_pending` events per seed.
    #[must_use]
    pub fn new(source: impl Into<String>, run: TrainingRunId, max_pending: usize) -> Self {
        Self {
            source: source.into(),
            run,
            life: String::new(),
            max_pending,
            pending: BTreeMap::new(),
            sequence: 0,
            health: Health::default(),
            totals: Vec::new(),
            intervals: BTreeMap::new(),
        }
    }

    /// Adds `life` to every `packet_id`, so that the packets of two processes of one run have different ids. The first process
    /// has an empty one.
    #[must_use]
    pub fn resumed(mut self, life: &str) -> Self {
        self.life = if life.is_empty() { String::new() } else { format!("{life}-") };
        self
    }

    /// The state of the system from now on; see [`Health`].
    pub fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    /// Adds an event about `seed`, or about the run.
    pub fn event(&mut self, seed: Option<&SeedId>, event: Event) {
        let max = self.max_pending;
        let key = seed.cloned();
        match seed {
            Some(seed) if self.pending.len() >= Self::MOST_SEEDS && !self.pending.contains_key(&key) => {
                self.pending.entry(None).or_default().push(event.with("seed_id", seed), max);
            }
            Some(_) | None => self.pending.entry(key).or_default().push(event, max),
        }
    }

    /// Adds a measurement about `seed`, or about the run. It replaces an earlier one of the step that has the same name and
    /// the same attributes; a summary counts both.
    pub fn metric(&mut self, seed: Option<&SeedId>, metric: Metric) {
        self.sample(seed, &metric);
        self.pending(seed).measure(metric);
    }

    /// Adds a measurement to the next summary.
    fn sample(&mut self, seed: Option<&SeedId>, metric: &Metric) {
        if metric.name.kind != Kind::Sample {
            return;
        }
        let intervals = self.intervals.entry(seed.cloned()).or_default();
        match intervals.iter_mut().find(|interval| interval.is_of(metric)) {
            Some(interval) => interval.record(metric.value),
            None => {
                let mut interval = Interval::new(metric.clone());
                interval.record(metric.value);
                intervals.push(interval);
            }
        }
    }

    /// Adds the value of `metric` to the run's counter of that name and those attributes. The next packet about the run has the total.
    pub fn count(&mut self, metric: Metric) {
        let same = |held: &&mut Total| held.metric.name == metric.name && held.metric.attributes == metric.attributes;
        match self.totals.iter_mut().find(same) {
            Some(held) => {
                held.metric.value += metric.value;
                held.grown = true;
            }
            None => self.totals.push(Total { metric, grown: true }),
        }
    }

    /// Adds a summary of the samples since the last one, and every counter, to the next packets.
    pub fn summarise(&mut self) {
        for (seed, intervals) in mem::take(&mut self.intervals) {
            for metric in intervals.into_iter().flat_map(Interval::summary) {
                self.pending(seed.as_ref()).measure(metric);
            }
        }
        self.totals.iter_mut().for_each(|total| total.grown = true);
    }

    /// Assembles the packets of `step`, the run's packet first, then by seed id. No event and no metric is pending afterwards.
    pub fn assemble(&mut self, step: u64, now: UnixTime) -> Vec<Packet> {
        let grown: Vec<Metric> = self.totals.iter_mut().filter_map(Total::news).collect();
        grown.into_iter().for_each(|metric| self.pending(None).measure(metric));
        let pending = mem::take(&mut self.pending).into_iter().filter(|(_, pending)| !pending.is_empty());
        pending
            .map(|(seed, pending)| {
                let number = pending.number().unwrap_or_else(|| self.next_number());
                self.packet(seed, number, pending, step, now)
            })
            .collect()
    }

    /// An assembler for events and metrics that [`absorb`](Self::absorb) adds to this one, if they are wanted.
    pub(crate) fn scratch(&self) -> Self {
        let mut scratch = Self::new(String::new(), self.run.clone(), usize::MAX);
        scratch.max_pending = usize::MAX;
        scratch
    }

    /// Adds everything that another one has collected, in its order.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (seed, pending) in other.pending {
            let (events, metrics) = pending.into_parts();
            metrics.into_iter().for_each(|metric| self.metric(seed.as_ref(), metric));
            events.into_iter().for_each(|event| self.event(seed.as_ref(), event));
        }
        other.totals.into_iter().for_each(|total| self.count(total.metric));
    }

    /// Drafts of the packets that have something critical which is in no earlier draft, here or in `additions`, with everything about
    /// the same seed from both. New numbers are used up. Nothing else changes until [`adopt`](Self::adopt).
    pub(crate) fn draft(&mut self, additions: &Self, step: u64, now: UnixTime) -> Vec<Drafted> {
        let news = |held: &Self, seed: &Option<SeedId>| held.pending.get(seed).is_some_and(Pending::has_undrafted);
        let seeds: BTreeSet<_> = self.pending.keys().chain(additions.pending.keys()).cloned().collect();
        let seeds: Vec<_> = seeds.into_iter().filter(|seed| news(self, seed) || news(additions, seed)).collect();
        let mut drafts = Vec::new();
        for seed in seeds {
            let mut pending = self.pending.get(&seed).cloned().unwrap_or_default();
            let number = pending.number().unwrap_or_else(|| self.next_number());
            if let Some(more) = additions.pending.get(&seed) {
                pending.absorb(more.clone(), self.max_pending);
            }
            let critical = pending.critical();
            drafts.push(Drafted { packet: self.packet(seed, number, pending, step, now), number, critical });
        }
        drafts
    }

    /// Adopts `additions`, whose critical events are in these drafts. What a sealed one says does not wait any more.
    pub(crate) fn adopt(&mut self, mut additions: Self, drafts: &[Drafted]) {
        for sealed in drafts.iter().filter(|draft| draft.is_sealed()) {
            let seed = &sealed.packet.seed;
            self.pending.remove(seed);
            // Its samples count all the same.
            for metric in additions.pending.remove(seed).into_iter().flat_map(|more| more.into_parts().1) {
                self.sample(seed.as_ref(), &metric);
            }
        }
        self.absorb(additions);
        for draft in drafts.iter().filter(|draft| !draft.is_sealed()) {
            if let Some(pending) = self.pending.get_mut(&draft.packet.seed) {
                pending.mark_drafted(draft.number);
            }
        }
    }

    const fn next_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn pending(&mut self, seed: Option<&SeedId>) -> &mut Pending {
        self.pending.entry(seed.cloned()).or_default()
    }

    fn packet(&self, seed: Option<SeedId>, number: u64, pending: Pending, step: u64, now: UnixTime) -> Packet {
        let (events, metrics) = pending.into_parts();
        let packet_id = format!("{}-{}{number}", self.run, self.life);
        let grave = events.iter().max_by_key(|event| event.name().level as i32);
        let level = grave.map_or(TelemetryLevel::Info, |event| event.name().level);
        let (priority, said) = match level {
            TelemetryLevel::Unspecified | TelemetryLevel::Info => (MessagePriority::Normal, HealthStatus::Healthy),
            TelemetryLevel::Warning => (MessagePriority::High, HealthStatus::Degraded),
            TelemetryLevel::Error | TelemetryLevel::Critical => (MessagePriority::Critical, HealthStatus::Unhealthy),
        };
        let lasting = self.health.status();
        let status = if lasting as i32 > said as i32 { lasting } else { said };
        let mut indicators = BTreeMap::from([
            ("priority".to_owned(), priority.as_str_name().to_owned()),
            ("step_index".to_owned(), step.to_string()),
            ("training_run_id".to_owned(), self.run.to_string()),
        ]);
        if let Some(seed) = &seed {
            indicators.insert("seed_id".to_owned(), seed.to_string());
        }
        let lasts = lasting as i32 >= said as i32 && lasting != HealthStatus::Healthy;
        let gravest = grave.map_or("", |event| event.name().name);
        let summary = if lasts { self.health.cause() } else { gravest }.to_owned();
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

impl Total {
    /// The total, if it has grown since it was last asked for.
    fn news(&mut self) -> Option<Metric> {
        std::mem::take(&mut self.grown).then(|| self.metric.clone())
    }
}
