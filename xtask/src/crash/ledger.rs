//! What a store must hold, from what was acknowledged and what it held before.

mod batch;
mod network;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use kasmina::rollback::{Entry, Record};

use super::{
    finding::{Finding, Tally, Wrong},
    protocol::{Line, Move, Standing},
};
use batch::Batch;
use network::Network;

/// What a store holds after a kill.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) records: Vec<Record>,
}

/// What is known of one store. Its own copy of the journal: the store's may be compacted.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: BTreeMap<u64, Entry>,
    /// The first record that the store held the last time.
    first: u64,
    /// The last record that the next round has to begin behind.
    last: u64,
    /// Stages by seed; a seed that went back to a checkpoint has none until it says so.
    stages: BTreeMap<String, Option<String>>,
    /// What the kernels come to and how many steps were taken, if nothing was in flight when the process was killed.
    kernels: Option<BTreeMap<String, String>>,
    step: Option<u64>,
    network: Network,
    /// Moves that the journal has and the process has not told of yet.
    untold: VecDeque<Move>,
    nonces: BTreeMap<String, u64>,
    accepted: BTreeMap<String, u64>,
}

impl Ledger {
    /// Of a store that has not been begun.
    pub(super) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            first: 1,
            last: 0,
            stages: BTreeMap::new(),
            kernels: None,
            step: None,
            network: Network::new(),
            untold: VecDeque::new(),
            nonces: BTreeMap::new(),
            accepted: BTreeMap::new(),
        }
    }

    /// Compares what the store holds with what the process said until it was killed, and remembers both.
    pub(super) fn round(&mut self, held: &Held, lines: &[Line], tally: &mut Tally) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.take_in(held, tally, &mut findings);
        let mut told: Option<&Standing> = None;
        let mut intent = None;
        for line in lines {
            match line {
                Line::Recovered { standing, .. } => {
                    let batch = self.batch_to(standing.sequence, &mut findings);
                    batch.is_recovery(&mut findings);
                    self.recovered(standing, &mut findings);
                    told = Some(standing);
                }
                Line::Intends { kind, commands } => intent = Some((*kind, commands.as_slice())),
                Line::Done { kind, answers, moves, standing } => {
                    let announced = intent.take().map_or(&[][..], |(_, commands)| commands);
                    let batch = self.batch_to(standing.sequence, &mut findings);
                    batch.is_done(*kind, answers, announced, &mut findings);
                    self.told(moves, &mut findings);
                    self.stands(standing, &mut findings);
                    tally.networks_restored += u64::from(self.network.done(*kind, standing.loss, &mut findings));
                    findings.extend(tally.acknowledged(*kind, answers, moves));
                    told = Some(standing);
                }
                Line::Error { what } => findings.push(Finding::new(Wrong::Error, what)),
            }
            if let Line::Recovered { standing, .. } | Line::Done { standing, .. } = line {
                tally.stages_reached.extend(standing.stages.values().cloned());
            }
        }

        let end = self.entries.keys().next_back().copied().unwrap_or_default();
        let in_flight = self.batch_to(end, &mut findings);
        if !in_flight.is_empty() {
            tally.in_flight_kept += 1;
            match (intent, told) {
                (Some((kind, commands)), _) => {
                    in_flight.may_be(kind, commands, &mut findings);
                    self.network.in_flight(kind);
                }
                (None, None) => in_flight.is_recovery(&mut findings),
                (None, Some(_)) => in_flight.is_nothing(&mut findings),
            }
        }
        self.untold.clear();
        if let Some(told) = told {
            let sure = in_flight.is_empty();
            self.kernels = sure.then(|| told.kernels.clone());
            self.step = sure.then_some(told.step);
        }
        findings
    }

    /// Commands that were accepted, as they came.
    pub(super) fn accepted(&self) -> Vec<&[u8]> {
        let mut wires = Vec::new();
        for entry in self.entries.values() {
            if let Entry::Accepted { wire, .. } = entry {
                wires.push(wire.as_slice());
            }
        }
        wires
    }

    /// Takes in the journal: without gaps, as it was before as far as it goes back, and no command twice.
    fn take_in(&mut self, held: &Held, tally: &mut Tally, findings: &mut Vec<Finding>) {
        let first = held.records.first().map_or(self.last + 1, |record| record.sequence);
        if first > self.last + 1 {
            findings.push(Finding::differs("the journal's first record", format!("at most {}", self.last + 1), first));
        }
        tally.compactions += u64::from(first > self.first);
        self.first = self.first.max(first);
        let end = held.records.last().map_or(0, |record| record.sequence);
        if end < self.last {
            findings.push(Finding::differs("the journal's last record", format!("at least {}", self.last), end));
        }
        for (record, expected) in held.records.iter().zip(first..) {
            if record.sequence != expected {
                findings.push(Finding::differs("the next record", expected, record.sequence));
                break;
            }
        }
        for Record { sequence, entry } in &held.records {
            match self.entries.get(sequence) {
                Some(known) if known != entry => {
                    findings.push(Finding::differs(format!("record {sequence}"), brief(known), brief(entry)));
                }
                Some(_) => {}
                None => {
                    self.count(entry, findings);
                    self.entries.insert(*sequence, entry.clone());
                }
            }
        }
    }

    fn count(&mut self, entry: &Entry, findings: &mut Vec<Finding>) {
        let (counts, id) = match entry {
            Entry::NonceSeen { command_id, .. } => (&mut self.nonces, command_id),
            Entry::Accepted { command_id, .. } => (&mut self.accepted, command_id),
            Entry::Refused { .. }
            | Entry::Ordered { .. }
            | Entry::Moved { .. }
            | Entry::Delta { .. }
            | Entry::Snapshot { .. }
            | Entry::Epoch { .. }
            | Entry::EpochDropped { .. }
            | Entry::RolledBack { .. }
            | Entry::Telemetry { .. }
            | Entry::WatermarkReset { .. } => return,
        };
        let count = counts.entry(id.to_string()).or_default();
        *count += 1;
        if *count > 1 {
            findings.push(Finding::new(Wrong::Duplicate, format!("{} is there {count} times", brief(entry))));
        }
    }

    /// The records behind the last batch up to `sequence`, and what they do to the stages.
    fn batch_to(&mut self, sequence: u64, findings: &mut Vec<Finding>) -> Batch {
        let end = self.entries.keys().next_back().copied().unwrap_or_default();
        if end.max(self.last) < sequence {
            findings.push(Finding::differs("the journal's end", format!("at least {sequence}"), end));
        }
        let entries: Vec<_> = match self.last < sequence {
            true => self.entries.range(self.last + 1..=sequence).map(|(_, entry)| entry.clone()).collect(),
            false => Vec::new(),
        };
        self.last = self.last.max(sequence);
        for entry in &entries {
            if let Entry::RolledBack { seed_id, .. } = entry {
                match seed_id {
                    Some(seed) => drop(self.stages.insert(seed.to_string(), None)),
                    None => self.stages.values_mut().for_each(|stage| *stage = None),
                }
            }
            let Some(moved) = Move::of_entry(entry) else { continue };
            let stage = self.stages.entry(moved.seed.clone()).or_insert_with(|| Some("UNKNOWN".to_owned()));
            if let Some(stage) = stage.as_ref().filter(|stage| **stage != moved.from) {
                findings.push(Finding::differs(format!("{} before {}", moved.seed, moved.to), stage, &moved.from));
            }
            *stage = Some(moved.to.clone());
            self.untold.push_back(moved);
        }
        Batch::new(entries)
    }

    /// What the process says it has come back to.
    fn recovered(&mut self, standing: &Standing, findings: &mut Vec<Finding>) {
        if let Some(kernels) = self.kernels.as_ref().filter(|kernels| **kernels != standing.kernels) {
            let [expected, found] = [kernels, &standing.kernels].map(|kernels| format!("{kernels:?}"));
            findings.push(Finding::differs("the kernels after recovery", expected, found));
        }
        if let Some(step) = self.step.filter(|step| *step != standing.step) {
            findings.push(Finding::differs("the step after recovery", step, standing.step));
        }
        self.stands(standing, findings);
    }

    /// The stages are those that the journal says; where it does not say, those that the process says.
    fn stands(&mut self, standing: &Standing, findings: &mut Vec<Finding>) {
        for (seed, stage) in &standing.stages {
            let known = self.stages.entry(seed.clone()).or_insert_with(|| Some("none".to_owned()));
            if let Some(known) = known.as_ref().filter(|known| *known != stage) {
                findings.push(Finding::differs(format!("the stage of {seed}, by the journal"), known, stage));
            }
            *known = Some(stage.clone());
        }
        for seed in self.stages.keys().filter(|seed| !standing.stages.contains_key(*seed)) {
            findings.push(Finding::differs("seeds", seed, "that it is not registered"));
        }
    }

    /// The moves that were told are the next ones that the journal has.
    fn told(&mut self, moves: &[Move], findings: &mut Vec<Finding>) {
        for told in moves {
            let next = self.untold.pop_front();
            if next.as_ref() != Some(told) {
                findings.push(Finding::differs("the next move", format!("{told:?}"), format!("{next:?}")));
            }
        }
    }
}

/// An entry without the bytes in it.
fn brief(entry: &Entry) -> String {
    match entry {
        Entry::Accepted { command_id, wire } => format!("Accepted {command_id} of {} bytes", wire.len()),
        Entry::Telemetry { packet } => format!("Telemetry of {} bytes", packet.len()),
        Entry::Delta { bytes, blobs } => format!("Delta of {} bytes and {} blobs", bytes.len(), blobs.len()),
        Entry::Snapshot { bytes, blobs } => format!("Snapshot of {} bytes and {} blobs", bytes.len(), blobs.len()),
        Entry::Epoch { epoch, blobs, .. } => format!("Epoch {epoch} of {} blobs", blobs.len()),
        Entry::Refused { .. }
        | Entry::Ordered { .. }
        | Entry::Moved { .. }
        | Entry::NonceSeen { .. }
        | Entry::EpochDropped { .. }
        | Entry::RolledBack { .. }
        | Entry::WatermarkReset { .. } => format!("{entry:?}"),
    }
}
