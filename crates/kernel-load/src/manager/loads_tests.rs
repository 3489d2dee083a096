//! Random histories of the manager's state beside a slow model of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, UnixTime};
use kasmina_safety::BreakerSettings;
use proptest::prelude::*;

use super::Loads;
use crate::manager::effects::{Answered, Asked, Outcome};
use crate::manager::flights::{Job, Step};
use crate::manager::{LoadRequest, LoadSettings, Purpose, RequestId};
use crate::{ArtifactLimits, LibraryError, LoadError};

/// Threads, bytes of the largest file, and bytes in flight.
const THREADS: usize = 2;
const FILE: u64 = 100;
const BUDGET: u64 = 250;
/// Bytes of every artifact, once it is loaded.
const LOADED: u64 = 60;
const TIMEOUT: Duration = Duration::from_millis(30);

#[derive(Clone, Debug)]
enum Action {
    /// Without a seed it is a prefetch.
    Ask {
        blueprint: usize,
        seed: Option<usize>,
    },
    /// The thread with this place in the list of those at work has its file.
    Fetched {
        worker: usize,
        bytes: u64,
    },
    /// It ends.
    Finish {
        worker: usize,
        end: End,
    },
    /// An answer to the load of this number, or to one of this blueprint.
    Answer {
        number: u64,
        good: bool,
    },
    Deliver {
        blueprint: usize,
        good: bool,
    },
    Cancel {
        request: u64,
    },
    Cull {
        seed: usize,
    },
    Poll {
        later: u64,
    },
    Purge,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Ready,
    Later,
    Failed,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let end = prop_oneof![3 => Just(End::Ready), 1 => Just(End::Later), 1 => Just(End::Failed)];
    let action = prop_oneof![
        6 => (0..5_usize, prop::option::of(0..3_usize)).prop_map(|(blueprint, seed)| Action::Ask { blueprint, seed }),
        1 => (0..2_usize, 0..=FILE).prop_map(|(worker, bytes)| Action::Fetched { worker, bytes }),
        4 => (0..2_usize, end).prop_map(|(worker, end)| Action::Finish { worker, end }),
        3 => (0..20_u64, any::<bool>()).prop_map(|(number, good)| Action::Answer { number, good }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(blueprint, good)| Action::Deliver { blueprint, good }),
        2 => (0..40_u64).prop_map(|request| Action::Cancel { request }),
        1 => (0..3_usize).prop_map(|seed| Action::Cull { seed }),
        4 => (0..25_u64).prop_map(|later| Action::Poll { later }),
        1 => Just(Action::Purge),
    ];
    prop::collection::vec(action, 1..80)
}

fn name(blueprint: usize) -> BlueprintId {
    BlueprintId::new(format!("bp-{blueprint}")).unwrap()
}

fn seed(seed: usize) -> SeedId {
    SeedId::new(format!("seed-{seed}")).unwrap()
}

/// What a request waits for, in the model.
#[derive(Clone, Debug)]
struct Waiting {
    blueprint: BlueprintId,
    seed: Option<SeedId>,
    deadline: Monotonic,
    /// The value that will be handed over, or the error's reason.
    landed: Option<Result<u32, &'static str>>,
}

/// What goes on with a blueprint, in the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Queued,
    Working { bytes: u64, answered: bool },
    Awaiting,
}

/// Every request that was ever made and has not ended, and what goes on with every blueprint.
struct Model {
    by_message: bool,
    now: Monotonic,
    waiting: BTreeMap<RequestId, Waiting>,
    phases: BTreeMap<BlueprintId, Phase>,
    /// When each blueprint last began to wait for a thread: the number of that event.
    places: BTreeMap<BlueprintId, usize>,
    events: usize,
    /// The number of the latest load of each blueprint.
    numbers: BTreeMap<BlueprintId, u64>,
    loads: u64,
    cached: BTreeMap<BlueprintId, u32>,
    next_value: u32,
}

struct Pair {
    loads: Loads<u32>,
    model: Model,
    workers: Vec<Job>,
}

impl Pair {
    fn new(by_message: bool) -> Self {
        let settings = LoadSettings {
            threads: THREADS,
            in_flight_bytes: BUDGET,
            timeout_ms: TIMEOUT.as_millis() as u64,
            breaker: BreakerSettings { failure_threshold: u32::MAX, ..BreakerSettings::default() },
            limits: ArtifactLimits { max_bytes: FILE as usize, ..ArtifactLimits::default() },
            ..LoadSettings::default()
        };
        let model = Model {
            by_message,
            now: Monotonic::ORIGIN,
            waiting: BTreeMap::new(),
            phases: BTreeMap::new(),
            places: BTreeMap::new(),
            events: 0,
            numbers: BTreeMap::new(),
            loads: 0,
            cached: BTreeMap::new(),
            next_value: 0,
        };
        Self { loads: Loads::new(&settings, by_message), model, workers: Vec::new() }
    }

    fn apply(&mut self, action: &Action) {
        match *action {
            Action::Ask { blueprint, seed: asker } => self.ask(name(blueprint), asker.map(seed)),
            Action::Fetched { worker, bytes } => {
                let Some(job) = self.workers.get(worker) else { return };
                self.loads.fetched(&job.blueprint, bytes);
                if let Some(Phase::Working { bytes: reserved, .. }) = self.model.phases.get_mut(&job.blueprint) {
                    *reserved = bytes.min(*reserved);
                }
            }
            Action::Finish { worker, end } => {
                if worker < self.workers.len() {
                    let job = self.workers.remove(worker);
                    self.finish(&job.blueprint, end);
                }
            }
            Action::Answer { number, good } => {
                let expected = self.model.answer(number);
                let answered = self.loads.answer(number, |blueprint| step(blueprint, good));
                assert_eq!(answered, expected);
            }
            Action::Deliver { blueprint, good } => {
                let blueprint = name(blueprint);
                let taken = self.model.deliver(&blueprint);
                let expected = if taken { Answered::Taken } else { Answered::Late };
                assert_eq!(self.loads.deliver(&blueprint, step(&blueprint, good)), expected);
            }
            Action::Cancel { request } => {
                let id = RequestId(request);
                let was_waiting = self.model.waiting.remove(&id).map(|it| self.model.settle(&it.blueprint)).is_some();
                assert_eq!(self.loads.cancel(id), was_waiting);
            }
            Action::Cull { seed: culled } => {
                let culled = seed(culled);
                let gone: Vec<_> = self
                    .model
                    .waiting
                    .iter()
                    .filter(|(_, it)| it.seed.as_ref() == Some(&culled))
                    .map(|(id, _)| *id)
                    .collect();
                for id in &gone {
                    let waiting = self.model.waiting.remove(id).unwrap();
                    self.model.settle(&waiting.blueprint);
                }
                assert_eq!(self.loads.cancel_seed(&culled), gone.len());
            }
            Action::Poll { later } => self.poll(Duration::from_millis(later)),
            Action::Purge => {
                assert_eq!(self.loads.purge().entries(), self.model.cached.len() as u64);
                self.model.cached.clear();
            }
        }
    }

    fn ask(&mut self, blueprint: BlueprintId, asker: Option<SeedId>) {
        let run = TrainingRunId::new("run").unwrap();
        let purpose = asker.clone().map_or(Purpose::Prefetch, Purpose::Seed);
        let request = LoadRequest::new(blueprint.clone(), purpose, run, UnixTime::default());
        let asked = self.loads.ask(request, self.model.now).unwrap();
        let id = match (asked, self.model.cached.get(&blueprint)) {
            (Asked::Cached(got), Some(expected)) => return assert_eq!(*got, *expected),
            (Asked::Pending(id), None) => id,
            (Asked::Cached(_), None) => panic!("it cannot be cached"),
            (Asked::Pending(_), Some(_)) => panic!("it is cached"),
        };
        let deadline = self.model.now.after(TIMEOUT);
        let waiting = Waiting { blueprint: blueprint.clone(), seed: asker, deadline, landed: None };
        assert!(self.model.waiting.insert(id, waiting).is_none());
        if !self.model.phases.contains_key(&blueprint) {
            self.model.numbers.insert(blueprint.clone(), self.model.loads);
            self.model.loads += 1;
            if self.model.by_message {
                self.model.phases.insert(blueprint, Phase::Awaiting);
            } else {
                self.model.queue(&blueprint);
            }
        }
    }

    fn finish(&mut self, blueprint: &BlueprintId, end: End) {
        let value = self.model.next_value;
        self.model.next_value += 1;
        let (outcome, landed) = match end {
            End::Later => {
                self.loads.finish(blueprint, Outcome::Later);
                let Some(Phase::Working { answered, .. }) = self.model.phases.remove(blueprint) else { panic!() };
                if self.model.is_waited_for(blueprint) {
                    self.model.phases.insert(blueprint.clone(), Phase::Awaiting);
                    if answered {
                        self.model.queue(blueprint);
                    }
                }
                return;
            }
            End::Ready => (Outcome::Ready { artifact: Arc::new(value), bytes: LOADED }, Ok(value)),
            End::Failed => (Outcome::Failed(gone()), Err(gone().reason())),
        };
        self.loads.finish(blueprint, outcome);
        self.model.phases.remove(blueprint);
        if self.model.is_waited_for(blueprint) && landed.is_ok() {
            self.model.cached.insert(blueprint.clone(), value);
        }
        for waiting in self.model.waiting.values_mut() {
            if waiting.blueprint == *blueprint && waiting.landed.is_none() {
                waiting.landed = Some(landed);
            }
        }
    }

    fn poll(&mut self, later: Duration) {
        self.model.now = self.model.now.after(later);
        let now = self.model.now;
        let mut got: BTreeMap<RequestId, Result<u32, &'static str>> = BTreeMap::new();
        for arrival in self.loads.poll(now) {
            let outcome = arrival.outcome.map(|value| *value).map_err(|error| error.reason());
            assert!(got.insert(arrival.request, outcome).is_none(), "it arrives once");
        }
        let mut expected = BTreeMap::new();
        for (id, waiting) in self.model.waiting.clone() {
            let timed_out = (waiting.deadline <= now).then_some(Err("prefetch_timeout"));
            if let Some(end) = waiting.landed.or(timed_out) {
                self.model.waiting.remove(&id);
                self.model.settle(&waiting.blueprint);
                expected.insert(id, end);
            }
        }
        assert_eq!(got, expected);
    }

    /// Takes the jobs that were handed out, and compares the books.
    fn check(&mut self) {
        for job in self.loads.effects().jobs {
            assert_eq!(Some(&job.blueprint), self.model.next(), "seeds first, then in the order in which they came");
            let phase =
                self.model.phases.insert(job.blueprint.clone(), Phase::Working { bytes: job.limit, answered: false });
            assert_eq!(phase, Some(Phase::Queued), "a job that nothing asks for, or the second of its blueprint");
            self.workers.push(job);
        }
        let (stats, model) = (self.loads.stats(), &self.model);
        let count = |phase: fn(&Phase) -> bool| model.phases.values().filter(|it| phase(it)).count() as u64;
        assert_eq!(stats.outstanding, model.waiting.len() as u64);
        assert_eq!(stats.queued, count(|phase| *phase == Phase::Queued));
        assert_eq!(stats.awaiting, count(|phase| *phase == Phase::Awaiting));
        assert_eq!((stats.running, stats.total.loads), (self.workers.len() as u64, model.loads));
        assert!(self.workers.len() <= THREADS);
        let reserved = |phase: &Phase| if let Phase::Working { bytes, .. } = phase { *bytes } else { 0 };
        let mut landed: Vec<_> = model.waiting.values().filter_map(|it| it.landed?.ok()).collect();
        landed.dedup();
        landed.sort_unstable();
        landed.dedup();
        let bytes = model.phases.values().map(reserved).sum::<u64>() + LOADED * landed.len() as u64;
        assert_eq!(stats.in_flight_bytes, bytes);
        let room = self.workers.len() < THREADS && bytes + FILE <= BUDGET;
        assert!(stats.queued == 0 || !room, "a load waits although there is room");
    }
}

impl Model {
    fn queue(&mut self, blueprint: &BlueprintId) {
        self.phases.insert(blueprint.clone(), Phase::Queued);
        self.places.insert(blueprint.clone(), self.events);
        self.events += 1;
    }

    /// The load that has to begin next.
    fn next(&self) -> Option<&BlueprintId> {
        let for_a_seed = |blueprint: &BlueprintId| {
            self.waiting.values().any(|it| it.blueprint == *blueprint && it.landed.is_none() && it.seed.is_some())
        };
        let queued = self.phases.iter().filter(|(_, phase)| **phase == Phase::Queued).map(|(blueprint, _)| blueprint);
        queued.min_by_key(|blueprint| (!for_a_seed(blueprint), self.places[*blueprint]))
    }

    fn is_waited_for(&self, blueprint: &BlueprintId) -> bool {
        self.waiting.values().any(|it| it.blueprint == *blueprint && it.landed.is_none())
    }

    /// A load that nobody waits for ends, unless a thread works on it.
    fn settle(&mut self, blueprint: &BlueprintId) {
        if self.is_waited_for(blueprint) {
            return;
        }
        match self.phases.get(blueprint) {
            Some(Phase::Queued | Phase::Awaiting) => drop(self.phases.remove(blueprint)),
            Some(Phase::Working { .. }) | None => {}
        }
    }

    fn answer(&mut self, number: u64) -> Answered {
        if !self.by_message || number >= self.loads {
            return Answered::Unknown;
        }
        let awaits = |blueprint: &&BlueprintId| self.phases.get(*blueprint) == Some(&Phase::Awaiting);
        let found = self.numbers.iter().find(|(_, latest)| **latest == number).map(|(blueprint, _)| blueprint);
        if let Some(blueprint) = found.filter(awaits).cloned() {
            self.queue(&blueprint);
            return Answered::Taken;
        }
        Answered::Late
    }

    fn deliver(&mut self, blueprint: &BlueprintId) -> bool {
        match self.phases.get_mut(blueprint) {
            Some(Phase::Awaiting) => {
                self.queue(blueprint);
                true
            }
            Some(Phase::Working { answered, .. }) => !std::mem::replace(answered, true),
            Some(Phase::Queued) | None => false,
        }
    }
}

fn gone() -> LoadError {
    LibraryError::Unavailable { detail: "gone".into() }.into()
}

/// A step that needs as many bytes as the largest file, or none.
fn step(blueprint: &BlueprintId, good: bool) -> Step {
    if good { Step::Fetch } else { Step::Check(Err(LibraryError::reference(blueprint.as_str()).into())) }
}

proptest! {
    #[test]
    fn histories_agree_with_the_model_and_leave_nothing(by_message: bool, actions in actions()) {
        let mut pair = Pair::new(by_message);
        for action in &actions {
            pair.apply(action);
            pair.check();
        }
        pair.poll(TIMEOUT);
        pair.check();
        while let Some(job) = pair.workers.pop() {
            pair.finish(&job.blueprint, End::Ready);
            pair.check();
            pair.poll(TIMEOUT);
            pair.check();
        }
        let stats = pair.loads.stats();
        prop_assert_eq!((stats.outstanding, stats.queued, stats.running, stats.awaiting, stats.in_flight_bytes), (0, 0, 0, 0, 0));
    }
}

/// A delivery overtakes the library's answer, its asker cancels, and another asks before that answer is there.
#[test]
fn early_delivery_serves_whoever_asks_after_a_cancel() {
    let mut loads = Pair::new(false).loads;
    let ask = |loads: &mut Loads<u32>| {
        let run = TrainingRunId::new("run").unwrap();
        let request = LoadRequest::new(name(0), Purpose::Prefetch, run, UnixTime::default());
        match loads.ask(request, Monotonic::ORIGIN).unwrap() {
            Asked::Pending(id) => id,
            Asked::Cached(_) => panic!("nothing was loaded"),
        }
    };
    let first = ask(&mut loads);
    assert_eq!(loads.effects().jobs.len(), 1, "a thread asks the library");
    assert_eq!(loads.deliver(&name(0), step(&name(0), true)), Answered::Taken);
    assert!(loads.cancel(first));
    ask(&mut loads);
    loads.finish(&name(0), Outcome::Later);
    assert_eq!(loads.effects().jobs.len(), 1, "a thread looks at what was delivered");
}
