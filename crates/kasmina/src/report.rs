//! From what happens in the manager to telemetry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_isolation::Violation;
use kasmina_leyline::{
    SeedId, TrainingRunId,
    v1::{
        AdaptationCommand,
        CircuitBreakerState::{CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
        SeedLifecycleStage::SeedStageEmbargoed,
        TelemetryPacket,
    },
};
use kasmina_lifecycle::{Transition, Verdict};
use kasmina_memory::{CacheStats, Evicted};
use kasmina_rollback::Timing;
use kasmina_safety::{BreakerEvent, Clock};
use kasmina_security::Rejection;
use kasmina_telemetry::{Assembler, Event, Lanes, Metric, Packet, Sink, names};

use crate::{
    CheckpointError, CommandContext, Degraded, Fault, Recovered, Refusal, StepError, settings::TelemetrySettings,
};

/// Collects events and metrics of a step, makes packets of them, and hands those to the sinks.
pub(crate) struct Reporter {
    assembler: Assembler,
    clock: Arc<dyn Clock>,
    outlets: Vec<Outlet>,
    /// Packets made about each seed since it was last counted anew.
    due: BTreeMap<SeedId, u64>,
    /// Commands of nobody knows whom, by the reason of their rejection: told once a step with their number, so that a flood of
    /// them fills no memory.
    unauthenticated: BTreeMap<&'static str, u64>,
    /// Where in the journal drafts are of packets that have not been made yet.
    drafts: BTreeMap<String, u64>,
}

/// What had been told at some time, to go back to.
pub(crate) struct Mark {
    assembler: Assembler,
    due: BTreeMap<SeedId, u64>,
    unauthenticated: BTreeMap<&'static str, u64>,
    delivered: Vec<BTreeMap<SeedId, u64>>,
}

/// A sink and what is on its way there.
struct Outlet {
    lanes: Lanes,
    sink: Box<dyn Sink>,
    /// Whether the last packet was refused.
    failing: bool,
    /// Packets dropped that have been told of.
    told_dropped: u64,
    /// Packets about each seed that the sink has taken since the seed was last counted anew.
    delivered: BTreeMap<SeedId, u64>,
}

impl Reporter {
    pub(crate) fn new(
        settings: &TelemetrySettings,
        run: &TrainingRunId,
        clock: Arc<dyn Clock>,
        sinks: Vec<Box<dyn Sink>>,
    ) -> Self {
        let outlet = |sink| Outlet {
            lanes: Lanes::new(settings.pending_packets),
            sink,
            failing: false,
            told_dropped: 0,
            delivered: BTreeMap::new(),
        };
        Self {
            assembler: Assembler::new(&settings.source, run.clone(), settings.pending_events),
            clock,
            outlets: sinks.into_iter().map(outlet).collect(),
            due: BTreeMap::new(),
            unauthenticated: BTreeMap::new(),
            drafts: BTreeMap::new(),
        }
    }

    /// What is told from now on can be taken back, until it is flushed.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            assembler: self.assembler.clone(),
            due: self.due.clone(),
            unauthenticated: self.unauthenticated.clone(),
            delivered: self.outlets.iter().map(|outlet| outlet.delivered.clone()).collect(),
        }
    }

    pub(crate) fn back_to(&mut self, mark: Mark) {
        (self.assembler, self.due, self.unauthenticated) = (mark.assembler, mark.due, mark.unauthenticated);
        for (outlet, delivered) in self.outlets.iter_mut().zip(mark.delivered) {
            outlet.delivered = delivered;
        }
    }

    /// Goes on after a restart: critical packets that no sink had taken are at these places.
    pub(crate) fn resume(&mut self, life: &str, undelivered: &[u64]) {
        self.assembler = self.assembler.clone().resumed(life);
        for outlet in &mut self.outlets {
            undelivered.iter().for_each(|place| outlet.lanes.push_spilled(*place));
        }
    }

    /// Drafts of the packets that have something critical in them which is not in the journal.
    pub(crate) fn draft_critical(&mut self, step: u64) -> Vec<Arc<TelemetryPacket>> {
        if self.outlets.is_empty() {
            return Vec::new();
        }
        let drafts = self.assembler.draft_critical(step, self.clock.unix());
        drafts.into_iter().map(|draft| draft.packet).collect()
    }

    /// Takes in where those drafts are in the journal, by their ids.
    pub(crate) fn note_drafts(&mut self, places: impl IntoIterator<Item = (String, u64)>) {
        self.drafts.extend(places);
    }

    fn push(&mut self, packet: &Packet) {
        if let Some(seed) = &packet.seed {
            *self.due.entry(seed.clone()).or_default() += 1;
        }
        for outlet in &mut self.outlets {
            outlet.lanes.push(packet.clone());
        }
    }

    /// Critical packets that a sink has not taken and that are nowhere but in memory, once each.
    pub(crate) fn unspilled(&self) -> Vec<&Packet> {
        let packets = self.outlets.iter().flat_map(|outlet| outlet.lanes.unspilled());
        let by_id: BTreeMap<_, _> = packets.map(|packet| (&packet.packet_id, packet)).collect();
        by_id.into_values().collect()
    }

    /// Takes in where those packets are, by their ids.
    pub(crate) fn note_spilled(&mut self, places: &BTreeMap<String, u64>) {
        self.outlets.iter_mut().for_each(|outlet| outlet.lanes.spilled(places));
    }

    /// Where critical packets are that a sink has not taken, and drafts of those that none has been shown.
    pub(crate) fn spilled(&self) -> BTreeSet<u64> {
        let waiting = self.outlets.iter().flat_map(|outlet| outlet.lanes.places());
        waiting.chain(self.drafts.values().copied()).collect()
    }

    /// Makes the packets of the step and hands them to the sinks, with what those did not take before; `recall` finds what is
    /// in the journal alone.
    pub(crate) fn flush(&mut self, step: u64, recall: &mut dyn FnMut(u64) -> Option<TelemetryPacket>) {
        for (reason, count) in std::mem::take(&mut self.unauthenticated) {
            self.assembler.event(None, Event::new(names::COMMAND_REJECTED).with("reason", reason).with("count", count));
        }
        let waiting = self.outlets.iter().map(|outlet| outlet.lanes.waiting().0).max().unwrap_or_default();
        if waiting > 0 {
            self.assembler.metric(None, Metric::new(names::EMERGENCY_WAITING, waiting as f64));
        }
        // What a draft says and more goes to the sinks now, or into the journal.
        self.drafts.clear();
        for packet in self.assembler.assemble(step, self.clock.unix()) {
            self.push(&packet);
        }
        for outlet in &mut self.outlets {
            let drained = outlet.lanes.drain_with(&mut *outlet.sink, recall);
            for seed in drained.delivered.into_iter().filter_map(|packet| packet.seed) {
                *outlet.delivered.entry(seed).or_default() += 1;
            }
            // Told with the next step, to every sink: once when a sink begins to fail, and how much has been lost since.
            if let Some(error) = drained.error.as_ref().filter(|_| !outlet.failing) {
                self.assembler
                    .event(None, Event::new(names::SINK_FAILED).with("sink", error.sink).with("detail", error));
            }
            outlet.failing = drained.error.is_some();
            let dropped = outlet.lanes.dropped();
            if dropped > outlet.told_dropped {
                let count = dropped - outlet.told_dropped;
                self.assembler.event(None, Event::new(names::PACKETS_DROPPED).with("count", count));
                outlet.told_dropped = dropped;
            }
        }
    }

    /// Packets about the seed that were due since it was last counted anew, and those that every sink has taken.
    pub(crate) fn packets(&self, seed: &SeedId) -> (u64, u64) {
        let due = self.due.get(seed).copied().unwrap_or_default();
        let delivered = |outlet: &Outlet| outlet.delivered.get(seed).copied().unwrap_or_default();
        (due, self.outlets.iter().map(delivered).min().unwrap_or(due))
    }

    pub(crate) fn count_packets_anew(&mut self, seed: &SeedId) {
        self.due.remove(seed);
        for outlet in &mut self.outlets {
            outlet.delivered.remove(seed);
        }
    }

    pub(crate) fn metric(&mut self, seed: Option<&SeedId>, metric: Metric) {
        self.assembler.metric(seed, metric);
    }

    pub(crate) fn transition(&mut self, transition: &Transition) {
        let Transition { seed_id, from, to, .. } = transition;
        let event = Event::new(names::SEED_STATE).with("from", from.as_str_name()).with("to", to.as_str_name());
        self.assembler.event(Some(seed_id), event);
        if *to == SeedStageEmbargoed {
            self.assembler.event(Some(seed_id), Event::new(names::EMBARGO_START));
        }
    }

    pub(crate) fn embargo_ended(&mut self, seed: &SeedId) {
        self.assembler.event(Some(seed), Event::new(names::EMBARGO_END));
    }

    pub(crate) fn verdict(&mut self, verdict: &Verdict) {
        let name = if verdict.passed { names::GATE_EVENT } else { names::GATE_FAILURE };
        let event = Event::new(name).with("gate", verdict.gate.as_str_name()).with("reason", verdict.reason);
        let event = verdict.attributes.iter().fold(event, |event, (name, value)| event.with(name, value));
        self.assembler.event(Some(&verdict.seed_id), event);
    }

    pub(crate) fn culled(&mut self, seed: &SeedId, why: &str) {
        self.assembler.event(Some(seed), Event::new(names::SEED_CULLED).with("reason", why));
    }

    pub(crate) fn blend_config(&mut self, seed: &SeedId, blend: &BlendConfig, schedule: &AlphaSchedule) {
        let event = Event::new(names::BLEND_CONFIG)
            .with("mode", blend.mode().as_str())
            .with("source", blend.source().unwrap_or("default"))
            .with("schedule", format_args!("{schedule:?}"));
        self.assembler.event(Some(seed), event);
    }

    pub(crate) fn journal_failed(&mut self, error: &CheckpointError) {
        let event = Event::new(names::JOURNAL_FAILED).with("reason", error.reason()).with("detail", error);
        self.assembler.event(None, event);
    }

    pub(crate) fn recovered(&mut self, recovered: &Recovered) {
        let event = Event::new(names::RECOVERED)
            .with("incarnation", recovered.incarnation)
            .with("records", recovered.records)
            .with("seeds", recovered.seeds)
            .with("step", recovered.step);
        let event = match recovered.abandoned_rollback {
            Some(epoch) => event.with("abandoned_rollback", epoch),
            None => event,
        };
        let event = match &recovered.torn_tail {
            Some(torn) => event.with("torn_tail", torn),
            None => event,
        };
        self.assembler.event(None, event);
    }

    pub(crate) fn rollback_ready(&mut self, epoch: u64, step: u64, stored: bool) {
        let event = Event::new(names::ROLLBACK_READY).with("epoch", epoch).with("step", step).with("in_store", stored);
        self.assembler.event(None, event);
    }

    pub(crate) fn rolled_back(&mut self, seed: Option<&SeedId>, epoch: u64, timing: &Timing) {
        let took = timing.took.as_secs_f64() * 1e3;
        let event = Event::new(names::ROLLED_BACK)
            .with("epoch", epoch)
            .with("path", timing.sla.name)
            .with("took_ms", format_args!("{took:.3}"));
        self.assembler.event(seed, event);
        self.assembler.metric(None, Metric::new(names::ROLLBACK_LATENCY, took).with("path", timing.sla.name));
        if let Some(over) = timing.breach {
            let event = Event::new(names::DEADLINE_VIOLATION)
                .with("operation", "rollback")
                .with("path", timing.sla.name)
                .with("deadline_ms", timing.sla.budget.as_millis())
                .with("late_ms", over.as_millis());
            self.assembler.event(seed, event);
        }
    }

    pub(crate) fn paused(&mut self, seed: &SeedId) {
        self.assembler.event(Some(seed), Event::new(names::PAUSE));
    }

    pub(crate) fn resumed(&mut self, seed: &SeedId) {
        self.assembler.event(Some(seed), Event::new(names::RESUME));
    }

    pub(crate) fn breaker(&mut self, breaker: &str, event: BreakerEvent) {
        let name = match event.to {
            CircuitStateOpen | CircuitStateUnknown => names::BREAKER_OPEN,
            CircuitStateHalfOpen => names::BREAKER_HALF_OPEN,
            CircuitStateClosed => names::BREAKER_CLOSED,
        };
        let told = Event::new(name).with("breaker", breaker).with("cause", event.cause.reason());
        self.assembler.event(None, told);
        self.metric(None, Metric::new(names::BREAKER_STATE, i32::from(event.to)).with("breaker", breaker));
    }

    pub(crate) fn violation(&mut self, violation: &Violation) {
        let cosine = violation.cosine.map_or_else(|| "unknown".to_owned(), |cosine| cosine.to_string());
        let event = Event::new(names::ISOLATION_VIOLATION)
            .with("pass", format_args!("{:?}", violation.pass))
            .with("shared_parameters", violation.shared.len())
            .with("cosine_similarity", cosine);
        self.assembler.event(Some(&violation.seed), event);
    }

    pub(crate) fn fault(&mut self, fault: &Fault) {
        let event = Event::new(names::GRAFT_FAULT)
            .with("slot", &fault.slot)
            .with("reason", fault.reason)
            .with("detail", &fault.detail);
        self.assembler.event(Some(&fault.seed), event);
    }

    pub(crate) fn step_refused(&mut self, error: &StepError) {
        let event = Event::new(names::STEP_REFUSED).with("reason", error.reason()).with("detail", error);
        self.assembler.event(None, event);
    }

    pub(crate) fn cache(&mut self, stats: &CacheStats) {
        for (name, value) in [
            (names::CACHE_HITS, stats.total.hits),
            (names::CACHE_MISSES, stats.total.misses),
            (names::CACHE_BYTES, stats.bytes),
        ] {
            self.metric(None, Metric::new(name, value as f64));
        }
    }

    pub(crate) fn collected(&mut self, evicted: &Evicted) {
        let event = Event::new(names::MEMORY_GC).with("entries", evicted.entries()).with("bytes", evicted.bytes);
        self.assembler.event(None, event);
    }

    pub(crate) fn rejected(&mut self, rejection: &Rejection) {
        let Some(id) = rejection.command_id() else {
            *self.unauthenticated.entry(rejection.reason()).or_default() += 1;
            return;
        };
        let event = Event::new(names::COMMAND_REJECTED).with("reason", rejection.reason()).with("command_id", id);
        self.assembler.event(None, event);
    }

    pub(crate) fn accepted(&mut self, command: &AdaptationCommand, context: &CommandContext) {
        let said = [("risk_score", context.risk), ("feature_coverage", context.coverage)];
        let said = said.into_iter().filter_map(|(name, number)| Some((name, number?)));
        let event =
            said.fold(about(names::COMMAND_ACCEPTED, command), |event, (name, number)| event.with(name, number));
        self.assembler.event(target(command).as_ref(), event);
    }

    pub(crate) fn degraded(&mut self, command: &AdaptationCommand, degraded: &[Degraded]) {
        for told in degraded {
            let event = about(names::DEGRADED_INPUTS, command)
                .with("reason", told.reason)
                .with("annotation", told.annotation)
                .with("text", &told.text);
            let event = told.inputs_text().into_iter().fold(event, |event, inputs| event.with("inputs", inputs));
            self.assembler.event(target(command).as_ref(), event);
        }
    }

    pub(crate) fn refused(&mut self, command: &AdaptationCommand, refusal: &Refusal) {
        let target = target(command);
        let event = about(names::COMMAND_REFUSED, command).with("reason", refusal.reason()).with("detail", refusal);
        self.assembler.event(target.as_ref(), event);
        if let Refusal::DeadlineExceeded { deadline_ms, late_ms } = refusal {
            let event = about(names::DEADLINE_VIOLATION, command)
                .with("operation", "command")
                .with("deadline_ms", deadline_ms)
                .with("late_ms", late_ms);
            self.assembler.event(target.as_ref(), event);
        }
    }
}

fn about(name: kasmina_telemetry::EventName, command: &AdaptationCommand) -> Event {
    Event::new(name)
        .with("command_id", &command.command_id)
        .with("command_type", command.command_type().as_str_name())
        .with("issued_by", &command.issued_by)
}

fn target(command: &AdaptationCommand) -> Option<SeedId> {
    SeedId::new(&command.target_seed_id).ok()
}
