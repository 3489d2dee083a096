//! Loads on their way: at most one for each blueprint, within a number of threads and a budget of bytes.

use std::collections::{BTreeMap, VecDeque};

use kasmina_leyline::BlueprintId;

use super::RequestId;
use crate::{Artifact, Digests, LoadError};

/// What a thread has to do next for a load.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Ask the library.
    Fetch,
    /// Read the artifact that a message names.
    Read { reference: String, digests: Digests },
    /// Check what was delivered.
    Check(Result<Artifact, LoadError>),
}

/// Work for a thread.
#[derive(Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) blueprint: BlueprintId,
    pub(crate) step: Step,
    /// The bytes that are reserved for the file.
    pub(crate) limit: u64,
}

/// The limits on what is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlightLimits {
    pub(crate) threads: usize,
    /// Bytes of all that is in flight.
    pub(crate) bytes: u64,
    /// Bytes of the largest file, at most `bytes`.
    pub(crate) file_bytes: u64,
}

/// The loads on their way.
#[derive(Debug)]
pub(crate) struct Flights {
    limits: FlightLimits,
    by_blueprint: BTreeMap<BlueprintId, Flight>,
    /// Those that wait for a thread and for bytes, in the order in which they came. See [`next`](Self::next).
    queue: VecDeque<BlueprintId>,
    running: usize,
    /// What is reserved by running loads and held by results that nobody has taken.
    bytes: u64,
    next_number: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    /// Who waits, in the order in which they came.
    askers: Vec<Asker>,
    stage: Stage,
}

/// Who waits for a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) request: RequestId,
    /// Whether it is a seed, and not only a prefetch.
    pub(crate) is_seed: bool,
}

#[derive(Debug)]
enum Stage {
    Queued(Step),
    /// A delivery can overtake the library's answer that the artifact comes later: then it waits here.
    Running {
        reserved: u64,
        early: Option<Step>,
    },
    Awaiting,
}

/// What became of a load that an asker has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Others wait for it.
    Shared,
    /// Nobody waits for it. If a thread works on it, its result will be dropped.
    Empty,
}

impl Flights {
    pub(crate) const fn new(limits: FlightLimits) -> Self {
        Self { limits, by_blueprint: BTreeMap::new(), queue: VecDeque::new(), running: 0, bytes: 0, next_number: 0 }
    }

    /// Waits for the load of a blueprint, if there is one.
    pub(crate) fn join(&mut self, blueprint: &BlueprintId, asker: Asker) -> bool {
        let Some(flight) = self.by_blueprint.get_mut(blueprint) else { return false };
        flight.askers.push(asker);
        true
    }

    /// Begins a load that there is not. Without a step it waits for an answer from outside. Returns the load's number.
    pub(crate) fn begin(&mut self, blueprint: &BlueprintId, asker: Asker, step: Option<Step>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let stage = step.map_or(Stage::Awaiting, Stage::Queued);
        if matches!(stage, Stage::Queued(_)) {
            self.queue.push_back(blueprint.clone());
        }
        self.by_blueprint.insert(blueprint.clone(), Flight { number, askers: vec![asker], stage });
        number
    }

    /// Whether a load of this number was ever begun.
    pub(crate) const fn has_begun(&self, number: u64) -> bool {
        number < self.next_number
    }

    /// The blueprint of a load that waits for an answer from outside.
    pub(crate) fn awaiting(&self, number: u64) -> Option<&BlueprintId> {
        let awaits = |flight: &Flight| flight.number == number && matches!(flight.stage, Stage::Awaiting);
        self.by_blueprint.iter().find(|(_, flight)| awaits(flight)).map(|(blueprint, _)| blueprint)
    }

    /// Whether the load of a blueprint waits for an answer from outside.
    pub(crate) fn awaits_answer(&self, blueprint: &BlueprintId) -> bool {
        self.by_blueprint.get(blueprint).is_some_and(|flight| matches!(flight.stage, Stage::Awaiting))
    }

    /// Goes on with a load that waits for an answer from outside, or will. Returns whether there is one.
    pub(crate) fn proceed(&mut self, blueprint: &BlueprintId, step: Step) -> bool {
        let Some(flight) = self.by_blueprint.get_mut(blueprint) else { return false };
        match &mut flight.stage {
            Stage::Awaiting => {
                flight.stage = Stage::Queued(step);
                self.queue.push_back(blueprint.clone());
                true
            }
            Stage::Running { early: early @ None, .. } => {
                *early = Some(step);
                true
            }
            Stage::Running { early: Some(_), .. } | Stage::Queued(_) => false,
        }
    }

    /// Stops waiting. A load that nobody waits for goes on only if a thread works on it.
    pub(crate) fn leave(&mut self, blueprint: &BlueprintId, asker: RequestId) -> Left {
        let Some(flight) = self.by_blueprint.get_mut(blueprint) else { return Left::Empty };
        flight.askers.retain(|other| other.request != asker);
        if !flight.askers.is_empty() {
            return Left::Shared;
        }
        match flight.stage {
            // Somebody may ask again before the thread is done. What was delivered early is for them.
            Stage::Running { .. } => {}
            Stage::Queued(_) | Stage::Awaiting => {
                self.queue.retain(|queued| queued != blueprint);
                self.by_blueprint.remove(blueprint);
            }
        }
        Left::Empty
    }

    /// The jobs that may run now.
    pub(crate) fn admit(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        while self.running < self.limits.threads {
            let Some(place) = self.next() else { break };
            let blueprint = &self.queue[place];
            let Some(flight) = self.by_blueprint.get_mut(blueprint) else {
                self.queue.remove(place);
                continue;
            };
            let Stage::Queued(step) = &flight.stage else {
                self.queue.remove(place);
                continue;
            };
            let limit = match step {
                Step::Fetch | Step::Read { .. } => self.limits.file_bytes,
                Step::Check(Ok(artifact)) => (artifact.bytes.len() as u64).min(self.limits.bytes),
                Step::Check(Err(_)) => 0,
            };
            if limit > self.limits.bytes.saturating_sub(self.bytes) {
                break;
            }
            let stage = std::mem::replace(&mut flight.stage, Stage::Running { reserved: limit, early: None });
            self.bytes += limit;
            self.running += 1;
            if let (Some(blueprint), Stage::Queued(step)) = (self.queue.remove(place), stage) {
                jobs.push(Job { blueprint, step, limit });
            }
        }
        jobs
    }

    /// The place in the queue of the load that begins next: the first that a seed waits for, or else the first.
    fn next(&self) -> Option<usize> {
        let for_a_seed = |blueprint: &BlueprintId| {
            self.by_blueprint.get(blueprint).is_some_and(|flight| flight.askers.iter().any(|asker| asker.is_seed))
        };
        let first = (!self.queue.is_empty()).then_some(0);
        self.queue.iter().position(for_a_seed).or(first)
    }

    /// A running load has its file, and needs no more than this for it.
    pub(crate) fn fetched(&mut self, blueprint: &BlueprintId, bytes: u64) {
        if let Some(Flight { stage: Stage::Running { reserved, .. }, .. }) = self.by_blueprint.get_mut(blueprint) {
            let freed = reserved.saturating_sub(bytes);
            *reserved -= freed;
            self.bytes -= freed;
        }
    }

    /// A running load waits for an answer from outside, or goes on with one that has come already. Returns whether
    /// somebody waits.
    pub(crate) fn put_off(&mut self, blueprint: &BlueprintId) -> bool {
        let early = self.stop(blueprint);
        let Some(flight) = self.by_blueprint.get_mut(blueprint) else { return false };
        if flight.askers.is_empty() {
            self.by_blueprint.remove(blueprint);
            return false;
        }
        flight.stage = Stage::Awaiting;
        if let Some(step) = early {
            self.proceed(blueprint, step);
        }
        true
    }

    /// A running load has ended. Returns who waits.
    pub(crate) fn end(&mut self, blueprint: &BlueprintId) -> Vec<RequestId> {
        self.stop(blueprint);
        self.by_blueprint
            .remove(blueprint)
            .map(|flight| flight.askers)
            .unwrap_or_default()
            .into_iter()
            .map(|asker| asker.request)
            .collect()
    }

    /// Ends all loads but those that a thread works on, whose results will be dropped.
    pub(crate) fn abandon_all(&mut self) {
        self.queue.clear();
        self.by_blueprint.retain(|_, flight| {
            flight.askers.clear();
            match &mut flight.stage {
                Stage::Running { early, .. } => *early = None,
                Stage::Queued(_) | Stage::Awaiting => return false,
            }
            true
        });
    }

    /// Counts the bytes of a result until [`release`](Self::release).
    pub(crate) const fn hold(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(crate) const fn release(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn awaiting_count(&self) -> usize {
        self.by_blueprint.len() - self.running - self.queue.len()
    }

    /// A thread has ended its work on a load: its bytes are free again.
    fn stop(&mut self, blueprint: &BlueprintId) -> Option<Step> {
        let flight = self.by_blueprint.get_mut(blueprint)?;
        let Stage::Running { reserved, early } = std::mem::replace(&mut flight.stage, Stage::Awaiting) else {
            return None;
        };
        self.running -= 1;
        self.bytes -= reserved;
        early
    }
}
