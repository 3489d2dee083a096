//! The one door: an input is decided, made durable, committed, and then done.

use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use burn::module::Module;
use kasmina_blending::GraftBackend;
use kasmina_engine::{Decision, Delta, Effect, Event, Input, Seed};
use kasmina_leyline::{SeedId, UnixTime, v1::TelemetryPacket};
use kasmina_lifecycle::Transition;
use kasmina_rollback::Entry;
use kasmina_telemetry::{Assembler, Draft, Metric, names};
use prost::Message;

use crate::{
    durable::{self, Durable, Saved, Written},
    error::{CheckpointError, Refusal},
    events,
    manager::SeedManager,
};

/// Inputs that are decided on top of each other and happen together, or not at all.
#[derive(Default)]
pub(super) struct Batch {
    /// How long its orders may wait for their kernels, all together.
    patience: Duration,
    delta: Delta,
    decisions: Vec<Decision>,
    /// What goes into the journal, in order.
    pub(super) entries: Vec<Entry>,
    /// Seeds whose weights must be in the store.
    pub(super) weights: BTreeSet<SeedId>,
    /// The network that must be in the store.
    pub(super) network: Option<Saved>,
    /// What goes into telemetry, in order.
    notes: Vec<Note>,
}

/// What goes into the journal together.
struct Writing<'a> {
    delta: &'a Delta,
    entries: Vec<Entry>,
    weights: BTreeSet<SeedId>,
    network: Option<Saved>,
    packets: Vec<Vec<u8>>,
}

/// Writes something into telemetry, once it has become true.
type Note = Box<dyn FnOnce(&mut Assembler)>;

impl Batch {
    /// A batch of orders that may wait so long for their kernels.
    pub(super) fn patient(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Something to write into telemetry when the batch has happened.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut Assembler) + 'static) {
        self.notes.push(Box::new(note));
    }

    /// The moves of these decisions.
    pub(super) fn transitions(&self, decisions: Range<usize>) -> Vec<Transition> {
        self.decisions[decisions].iter().flat_map(Decision::transitions).cloned().collect()
    }

    pub(super) const fn decisions(&self) -> usize {
        self.decisions.len()
    }

    /// What a decision does to weights.
    fn weigh(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Attach { seed } | Effect::SaveWeights { seed } | Effect::RestoreSeed { seed, .. } => {
                    self.weights.insert(seed.clone());
                }
                Effect::Detach { seed } | Effect::HandOver { seed } => {
                    self.weights.remove(seed);
                }
                Effect::Fetch { .. } | Effect::CountPackets { .. } | Effect::Purge { .. } => {}
            }
        }
    }
}

impl<B: GraftBackend> SeedManager<B> {
    /// Decides an input on top of a batch. A kernel that is there at once is part of the same decision.
    pub(super) fn decide(&mut self, input: Input, batch: &mut Batch) -> Result<(), Refusal> {
        let (now, started) = (self.now(), self.clock.monotonic());
        let overlay = self.engine.overlay_on(std::mem::take(&mut batch.delta));
        let wants = overlay.wants(&input, now);
        let seeds: Vec<Seed> = wants.iter().filter_map(|want| overlay.seed(want.seed()?)).cloned().collect();
        batch.delta = overlay.into_delta();
        let mut measured = self.measure(&wants, &seeds);

        let mut overlay = self.engine.overlay_on(std::mem::take(&mut batch.delta));
        let decision = overlay.decide(input, &measured.facts, now);
        overlay.adopt(&decision);
        let fetch = decision
            .fetch()
            .and_then(|(seed, blueprint)| Some((seed.clone(), overlay.seed(seed)?.slot.clone(), blueprint.clone())));
        batch.delta = overlay.into_delta();

        for event in &decision.events {
            batch.entries.extend(self.entry(event));
            if let (Event::SeedRolledBack { seed, epoch }, Some(sla)) = (event, measured.sla) {
                let (seed, epoch, timing) = (seed.clone(), *epoch, sla.judge(started, self.clock.monotonic()));
                batch.note(move |to| events::rolled_back(to, Some(&seed), epoch, None, &timing));
            }
            if let Event::LifeEnded(ended) = event {
                let (seed, report) = (ended.seed.id.clone(), self.field_report(ended));
                batch.note(move |to| to.event(Some(&seed), report));
            }
            let noted = event.clone();
            batch.note(move |to| events::happened(to, &noted));
        }
        if let (Ok(()), Some((seed, plant))) = (&decision.answer, measured.plant.take()) {
            self.tensors.stage_checkpoint(seed, plant);
        }
        let answer = decision.answer.clone().map_err(|refusal| measured.explain(refusal));
        batch.weigh(&decision.effects);
        batch.decisions.push(decision);
        answer?;
        let Some((seed, slot, blueprint)) = fetch else { return Ok(()) };
        let fetched = self.fetch(&seed, &slot, &blueprint, batch.patience);
        let waited = self.clock.monotonic().since(started);
        batch.patience = batch.patience.saturating_sub(waited);
        self.kernel_came(seed, fetched, waited, batch)
    }

    /// Makes a batch durable and then makes it so, or drops it.
    ///
    /// # Errors
    /// [`CheckpointError`]: nothing has happened.
    pub(super) fn conclude(&mut self, batch: Batch) -> Result<(), CheckpointError> {
        let Batch { delta, decisions, entries, weights, network, notes, patience: _ } = batch;
        let step = delta.run.as_ref().unwrap_or(&self.engine.state().run).step;
        let owes = self.durable.as_ref().is_some_and(Durable::owes);
        let changes = !(entries.is_empty() && delta.is_empty() && network.is_none());
        if notes.is_empty() && !changes && !owes {
            self.tensors.unstage();
            return Ok(());
        }
        let draft = self.reporter.draft(step, self.clock.unix(), |to| notes.into_iter().for_each(|note| note(to)));
        let written = if changes || owes {
            self.append(Writing { delta: &delta, entries, weights, network, packets: encoded(draft.packets()) })
        } else {
            Ok(Written::default())
        };
        match written {
            Ok(written) => {
                self.adopt(draft, written);
                self.moved.extend(decisions.iter().flat_map(Decision::transitions).cloned());
                self.engine.commit(delta);
                self.perform(&decisions);
                self.tensors.unstage();
                self.show_pending();
                self.write_snapshot_if_due();
                Ok(())
            }
            Err(error) => {
                self.tensors.unstage();
                self.emit_failure(&error);
                Err(error)
            }
        }
    }

    /// Decides, makes durable and does one input of the trainer or of time.
    pub(super) fn durably(&mut self, input: Input) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        let answer = self.decide(input, &mut batch);
        self.conclude(batch)?;
        answer
    }

    /// Decides and commits at once what does not wait for a disk: what a step shows, what time brings, and culls that safety forces.
    /// The journal gets it with the next batch.
    pub(super) fn act(&mut self, input: Input) -> Vec<Event> {
        let now = self.now();
        let wants = self.engine.wants(&input, now);
        let seeds: Vec<Seed> = wants.iter().filter_map(|want| self.state().seeds.get(want.seed()?)).cloned().collect();
        let facts = self.measure(&wants, &seeds).facts;
        let mut decision = self.engine.decide(input, &facts, now);
        let moves: Vec<_> = decision
            .events
            .iter()
            .filter_map(|event| Some((event.transition()?.clone(), self.entry(event)?)))
            .collect();
        self.reporter.write(|to| decision.events.iter().for_each(|event| events::happened(to, event)));
        self.report_ends(&decision.events);
        match &mut self.durable {
            Some(durable) => durable.owe(&decision.delta, moves),
            None => self.moved.extend(moves.into_iter().map(|(moved, _)| moved)),
        }
        self.engine.commit(std::mem::take(&mut decision.delta));
        self.perform(std::slice::from_ref(&decision));
        decision.events.into_vec()
    }

    /// Makes durable what has been committed before it was: moves at once, what was learned if `all`. What cannot be written now
    /// is tried again with what comes next.
    pub(super) fn write_committed(&mut self, all: bool) {
        let Some(durable) = &mut self.durable else { return };
        let learned = if all { durable.take_learned() } else { BTreeSet::new() };
        let state = self.engine.state();
        let ahead = all && (!learned.is_empty() || durable.is_behind(&state.run));
        if !ahead && !durable.owes() {
            return;
        }
        let seeds = learned.iter().filter_map(|seed| state.seeds.get(seed)).cloned();
        let delta = Delta { seeds: seeds.collect(), run: Some(state.run.clone()), ..Delta::default() };
        let weights = if all { self.tensors.changed().cloned().collect() } else { BTreeSet::new() };
        let draft = self.reporter.draft(state.run.step, self.clock.unix(), |_| {});
        let (entries, packets) = (Vec::new(), encoded(draft.packets()));
        let outcome = self.append(Writing { delta: &delta, entries, weights, network: None, packets });
        match outcome {
            Ok(written) => {
                self.adopt(draft, written);
                self.write_snapshot_if_due();
            }
            Err(error) => {
                if let Some(durable) = &mut self.durable {
                    durable.owe(&delta, Vec::new());
                }
                self.emit_failure(&error);
            }
        }
    }

    pub(super) fn write_owed(&mut self) {
        self.write_committed(false);
    }

    /// Makes durable what time has moved, but does not try again after a failure: senders who are rejected must not be able to make
    /// the manager write.
    pub(super) fn write_owed_unless_failing(&mut self) {
        if self.durable.as_ref().is_some_and(|durable| !durable.is_failing()) {
            self.write_owed();
        }
    }

    fn append(&mut self, writing: Writing<'_>) -> Result<Written, CheckpointError> {
        let Writing { delta, entries, weights, network, packets } = writing;
        let (now, started) = (self.now(), self.clock.monotonic());
        let (retention, undelivered) = (self.verifier.retention(), self.reporter.undelivered());
        let Some(durable) = &mut self.durable else { return Ok(Written::default()) };
        let state = self.engine.state();
        let batch = durable::Batch { entries, delta, state, weights, network, packets, retention, undelivered };
        let written = durable.append(batch, &mut self.tensors, now)?;
        Ok(Written { took: Some(self.clock.monotonic().since(started)), ..written })
    }

    /// Emits what was drafted for a batch that was written.
    fn adopt(&mut self, draft: Draft, written: Written) {
        self.reporter.adopt(draft, written.packets);
        self.moved.extend(written.moves);
        if let Some(took) = written.took {
            self.reporter.metric(None, Metric::new(names::JOURNAL_APPEND, took.as_secs_f64() * 1e3));
        }
    }

    fn write_snapshot_if_due(&mut self) {
        let (now, retention) = (self.now(), self.verifier.retention());
        let Some(durable) = &mut self.durable else { return };
        if durable.snapshot_due()
            && let Err(error) = durable.write_snapshot(self.engine.state(), retention, now)
        {
            self.emit_failure(&error);
        }
    }

    /// Does what committed decisions say.
    fn perform(&mut self, decisions: &[Decision]) {
        for effect in decisions.iter().flat_map(|decision| &decision.effects) {
            if let Effect::CountPackets { seed } = effect {
                self.reporter.count_packets_from_here(seed);
            }
            self.tensors.perform(effect);
            if let Effect::Purge { include_teacher } = effect {
                self.purge_memory();
                include_teacher.then(|| self.drop_teacher());
            }
            if let Effect::Detach { seed } = effect {
                self.kernels.forget(seed);
            }
            if let Effect::Attach { seed } | Effect::RestoreSeed { seed, .. } = effect {
                let registered = self.tensors.ownership(seed).registered;
                let values = self.tensors.kernel_ref(seed).map_or(0, Module::num_params);
                self.reporter.emit(Some(seed), events::registered(registered, values));
            }
        }
    }

    /// What the journal says of an event.
    fn entry(&self, event: &Event) -> Option<Entry> {
        match event {
            Event::Moved(Transition { seed_id, from, to, gate, .. }) => {
                let at: UnixTime = self.clock.unix();
                Some(Entry::Moved { seed_id: seed_id.clone(), from: *from, to: *to, gate: *gate, at })
            }
            Event::SeedRolledBack { seed, epoch } => {
                Some(Entry::RolledBack { seed_id: Some(seed.clone()), epoch: *epoch })
            }
            Event::Judged(_)
            | Event::Postponed(_)
            | Event::Leaving { .. }
            | Event::Idle { .. }
            | Event::Probed { .. }
            | Event::Interacted { .. }
            | Event::HuntBegan { .. }
            | Event::HuntEnded { .. }
            | Event::Culled { .. }
            | Event::LifeEnded(_)
            | Event::EmbargoEnded(_)
            | Event::BlendConfigured { .. }
            | Event::Paused(_)
            | Event::Resumed(_)
            | Event::Breaker(..)
            | Event::Violated { .. }
            | Event::Faulted(_)
            | Event::EvidenceReset { .. }
            | Event::ConservationBegan(_)
            | Event::ConservationEnded(_)
            | Event::SeedStepped(_) => None,
        }
    }

    /// Emits that something could not be made durable: once, until something can be again.
    pub(super) fn emit_failure(&mut self, error: &CheckpointError) {
        if self.durable.as_mut().is_some_and(Durable::first_failure) {
            self.reporter.emit(None, events::journal_failed(error));
        }
    }

    /// Puts what no sink took of what is critical into the journal, so that it outlives the process.
    pub(super) fn spill_telemetry(&mut self) {
        let now = self.now();
        let Some(durable) = self.durable.as_mut().filter(|durable| !durable.is_failing()) else { return };
        let packets = self.reporter.unspilled();
        if packets.is_empty() {
            return;
        }
        match durable.spill(&packets, now) {
            Ok(places) => self.reporter.spilled_to(&places),
            Err(error) => self.emit_failure(&error),
        }
    }
}

fn encoded(packets: &[Arc<TelemetryPacket>]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| packet.encode_to_vec()).collect()
}
