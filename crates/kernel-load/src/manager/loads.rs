//! The manager's state. It decides who waits for what; threads, files and messages are its caller's.

use std::{sync::Arc, time::Duration};

use kasmina_leyline::{BlueprintId, Monotonic, SeedId};
use kasmina_memory::{Cache, CacheLimits, Evicted};
use kasmina_safety::Breaker;

use super::effects::{Answered, Asked, Effects, Outcome, Outgoing, Standing};
use super::flights::{Asker, FlightLimits, Flights, Left, Step};
use super::report::{LoadEvent, LoadStats, Told};
use super::requests::Requests;
use super::results::{Landed, Results, Withdrawn};
use super::{Arrival, LoadRequest, LoadSettings, Purpose, RequestId};
use crate::{LibraryError, LoadError};

/// The manager's state, for artifacts of any type.
pub(crate) struct Loads<T> {
    /// Whether the library answers by messages.
    by_message: bool,
    cache: Cache<BlueprintId, Arc<T>>,
    requests: Requests,
    flights: Flights,
    breaker: Breaker,
    results: Results<T>,
    effects: Effects<T>,
    told: Told,
    /// The latest time that a caller has told.
    now: Monotonic,
    closed: bool,
}

impl<T> Loads<T> {
    pub(crate) fn new(settings: &LoadSettings, by_message: bool) -> Self {
        let file_bytes = (settings.limits.max_bytes as u64).min(settings.in_flight_bytes);
        let limits = FlightLimits { threads: settings.threads.max(1), bytes: settings.in_flight_bytes, file_bytes };
        let ttl = Duration::from_secs(settings.cache_ttl_seconds);
        Self {
            by_message,
            cache: Cache::new(CacheLimits { bytes: settings.cache_bytes, ttl }),
            requests: Requests::new(settings.max_requests, Duration::from_millis(settings.timeout_ms)),
            flights: Flights::new(limits),
            breaker: Breaker::new(settings.breaker),
            results: Results::default(),
            effects: Effects::none(),
            told: Told::default(),
            now: Monotonic::ORIGIN,
            closed: false,
        }
    }

    /// The cached kernel of a blueprint.
    pub(crate) fn cached(&mut self, blueprint: &BlueprintId, now: Monotonic) -> Option<Arc<T>> {
        self.now = self.now.max(now);
        let garbage = &mut self.effects.garbage;
        self.cache.get_with(blueprint, now, |old| garbage.push(old)).map(Arc::clone)
    }

    pub(crate) fn ask(&mut self, request: LoadRequest, now: Monotonic) -> Result<Asked<T>, LoadError> {
        if let Some(artifact) = self.cached(&request.blueprint, now).filter(|_| !self.closed) {
            return Ok(Asked::Cached(artifact));
        }
        let id = self.requests.next_id();
        let joined = self.admit(&request, id, now).inspect_err(|_| self.told.counts.refused += 1)?;
        self.told.counts.requests += 1;
        self.told.counts.joined += u64::from(joined);
        self.requests.add(request, joined, now);
        self.effects.jobs.extend(self.flights.admit());
        Ok(Asked::Pending(id))
    }

    /// Joins the load of a blueprint, or begins it. Returns whether it was joined.
    fn admit(&mut self, request: &LoadRequest, id: RequestId, now: Monotonic) -> Result<bool, LoadError> {
        if self.closed {
            return Err(LoadError::Closed);
        }
        if self.requests.is_full() {
            return Err(LoadError::TooManyRequests { limit: self.requests.len() });
        }
        let asker = Asker { request: id, is_seed: matches!(request.purpose, Purpose::Seed(_)) };
        if self.flights.join(&request.blueprint, asker) {
            return Ok(true);
        }
        let event = self.breaker.allow(now).map_err(LoadError::Breaker)?;
        self.told.tell(event.map(LoadEvent::Breaker));
        self.told.counts.loads += 1;
        let number = self.flights.begin(&request.blueprint, asker, (!self.by_message).then_some(Step::Fetch));
        self.effects.message = self.by_message.then(|| Outgoing {
            number,
            blueprint: request.blueprint.clone(),
            training_run_id: request.training_run_id.clone(),
            issued_at: request.issued_at,
        });
        Ok(false)
    }

    /// A running load has read its file.
    pub(crate) fn fetched(&mut self, blueprint: &BlueprintId, bytes: u64) {
        self.flights.fetched(blueprint, bytes);
        self.effects.jobs.extend(self.flights.admit());
    }

    /// A thread has ended its work on a load.
    pub(crate) fn finish(&mut self, blueprint: &BlueprintId, outcome: Outcome<T>) {
        let landed = match outcome {
            Outcome::Later => {
                self.told.counts.abandoned += u64::from(!self.flights.put_off(blueprint));
                // Whoever waits has to know that it takes longer.
                self.effects.landed = true;
                None
            }
            Outcome::Ready { artifact, bytes } => Some((Ok(artifact), bytes)),
            Outcome::Failed(error) => Some((Err(error), 0)),
        };
        if let Some((outcome, bytes)) = landed {
            let askers = self.flights.end(blueprint);
            if askers.is_empty() {
                self.told.counts.abandoned += 1;
                self.effects.garbage.extend(outcome.ok());
            } else {
                self.land(Landed { blueprint: blueprint.clone(), outcome, bytes, askers });
            }
        }
        self.effects.jobs.extend(self.flights.admit());
    }

    fn land(&mut self, landed: Landed<T>) {
        match &landed.outcome {
            Ok(artifact) => {
                self.told.counts.ready += 1;
                let (key, value) = (landed.blueprint.clone(), Arc::clone(artifact));
                let garbage = &mut self.effects.garbage;
                // A kernel that is too large for the cache is not a failure; the cache counts it.
                let _ = self.cache.insert_with(key, value, landed.bytes, self.now, |old| garbage.push(old));
                let event = self.breaker.record_success(self.now);
                self.told.tell(event.map(LoadEvent::Breaker));
            }
            Err(error) => {
                self.told.counts.failed += 1;
                // Whoever asks for what does not exist says nothing about the library.
                if !matches!(error, LoadError::Library(LibraryError::UnknownBlueprint { .. })) {
                    self.failed();
                }
            }
        }
        self.flights.hold(landed.bytes);
        self.results.add(landed);
        self.effects.landed = true;
    }

    /// The answer from outside to the load of this number.
    pub(crate) fn answer(&mut self, number: u64, step: impl FnOnce(&BlueprintId) -> Step) -> Answered {
        if !self.by_message || !self.flights.has_begun(number) {
            self.told.counts.unknown_answers += 1;
            return Answered::Unknown;
        }
        let Some(blueprint) = self.flights.awaiting(number).cloned() else {
            self.told.counts.late_answers += 1;
            return Answered::Late;
        };
        self.deliver(&blueprint, step(&blueprint))
    }

    /// The same for whatever load of the blueprint waits.
    pub(crate) fn deliver(&mut self, blueprint: &BlueprintId, step: Step) -> Answered {
        if self.closed || !self.flights.proceed(blueprint, step) {
            self.told.counts.late_answers += 1;
            return Answered::Late;
        }
        self.effects.jobs.extend(self.flights.admit());
        Answered::Taken
    }

    /// An answer to nothing that was asked here.
    pub(crate) const fn count_unknown(&mut self) {
        self.told.counts.unknown_answers += 1;
    }

    /// What has ended, and what has taken too long.
    pub(crate) fn poll(&mut self, now: Monotonic) -> Vec<Arrival<T>> {
        self.now = self.now.max(now);
        let mut arrivals = Vec::new();
        for Landed { blueprint, outcome, bytes, askers } in self.results.take() {
            self.flights.release(bytes);
            let first = arrivals.len();
            arrivals.extend(askers.iter().filter_map(|id| self.arrival(*id, outcome.clone(), now)));
            let waits = arrivals[first..].iter().filter_map(|arrival| arrival.lock_wait);
            let (waiters, longest) = (waits.clone().count() as u64, waits.max().unwrap_or_default());
            self.told.tell((waiters > 0).then_some(LoadEvent::Contention { blueprint, waiters, longest }));
            self.effects.garbage.extend(outcome.ok());
        }
        for id in self.requests.due(now) {
            arrivals.extend(self.expire(id, now));
        }
        self.effects.jobs.extend(self.flights.admit());
        arrivals
    }

    /// No poll before this time times a request out.
    pub(crate) const fn next_deadline(&self) -> Option<Monotonic> {
        self.requests.earliest()
    }

    /// Whether something has ended that nobody has polled.
    pub(crate) fn has_landed(&self) -> bool {
        !self.results.is_empty()
    }

    /// How a request stands.
    pub(crate) fn standing(&self, id: RequestId) -> Standing {
        let Some(blueprint) = self.requests.blueprint(id) else { return Standing::Gone };
        if self.results.has(id) {
            Standing::Landed
        } else if self.flights.awaits_answer(blueprint) && !self.by_message {
            Standing::Later
        } else {
            Standing::Coming
        }
    }

    fn arrival(&mut self, id: RequestId, outcome: Result<Arc<T>, LoadError>, now: Monotonic) -> Option<Arrival<T>> {
        let outstanding = self.requests.take(id)?;
        let latency = now.since(outstanding.asked);
        Some(Arrival {
            request: id,
            blueprint: outstanding.request.blueprint,
            purpose: outstanding.request.purpose,
            training_run_id: outstanding.request.training_run_id,
            outcome,
            latency,
            lock_wait: outstanding.joined.then_some(latency),
        })
    }

    fn expire(&mut self, id: RequestId, now: Monotonic) -> Option<Arrival<T>> {
        let mut arrival = self.arrival(id, Err(LoadError::Closed), now)?;
        let (blueprint, after) = (arrival.blueprint.clone(), arrival.latency);
        arrival.outcome = Err(LoadError::Timeout { blueprint: blueprint.clone(), after });
        self.told.counts.timeouts += 1;
        let (purpose, training_run_id) = (arrival.purpose.clone(), arrival.training_run_id.clone());
        self.told.tell(Some(LoadEvent::Timeout { request: id, blueprint, purpose, training_run_id, after }));
        if self.flights.leave(&arrival.blueprint, id) == Left::Empty {
            self.failed();
        }
        Some(arrival)
    }

    /// Takes back a request. Returns whether it was outstanding.
    pub(crate) fn cancel(&mut self, id: RequestId) -> bool {
        let cancelled = self.take_back(id);
        self.effects.jobs.extend(self.flights.admit());
        cancelled
    }

    fn take_back(&mut self, id: RequestId) -> bool {
        let Some(outstanding) = self.requests.take(id) else { return false };
        self.told.counts.cancelled += 1;
        match self.results.withdraw(id) {
            Withdrawn::NotThere => {
                self.flights.leave(&outstanding.request.blueprint, id);
            }
            Withdrawn::Shared => {}
            Withdrawn::Last(landed) => self.discard(landed),
        }
        true
    }

    /// Takes back all requests of a seed. Returns how many were outstanding.
    pub(crate) fn cancel_seed(&mut self, seed: &SeedId) -> usize {
        let requests = self.requests.of_seed(seed);
        let cancelled = requests.iter().filter(|id| self.take_back(**id)).count();
        // Only now: a load of the seed's own must not begin in between.
        self.effects.jobs.extend(self.flights.admit());
        cancelled
    }

    /// Takes back everything, and refuses whatever comes. Returns how many requests were outstanding.
    pub(crate) fn close(&mut self) -> usize {
        self.closed = true;
        self.flights.abandon_all();
        self.purge();
        let cancelled = self.requests.clear();
        self.told.counts.cancelled += cancelled as u64;
        cancelled
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) const fn running(&self) -> usize {
        self.flights.running()
    }

    pub(crate) fn collect(&mut self, now: Monotonic) -> Evicted {
        let garbage = &mut self.effects.garbage;
        self.cache.collect_with(now, |old| garbage.push(old))
    }

    pub(crate) fn purge(&mut self) -> Evicted {
        let garbage = &mut self.effects.garbage;
        self.cache.purge_with(|old| garbage.push(old))
    }

    pub(crate) fn events(&mut self) -> Vec<LoadEvent> {
        self.told.events()
    }

    /// What the last calls ask for.
    pub(crate) fn effects(&mut self) -> Effects<T> {
        std::mem::replace(&mut self.effects, Effects::none())
    }

    pub(crate) fn stats(&self) -> LoadStats {
        LoadStats {
            outstanding: self.requests.len() as u64,
            queued: self.flights.queued() as u64,
            running: self.flights.running() as u64,
            awaiting: self.flights.awaiting_count() as u64,
            in_flight_bytes: self.flights.bytes(),
            breaker: self.breaker.state(),
            total: self.told.counts,
            cache: self.cache.stats(),
        }
    }

    fn discard(&mut self, landed: Landed<T>) {
        self.flights.release(landed.bytes);
        self.effects.garbage.extend(landed.outcome.ok());
    }

    fn failed(&mut self) {
        let event = self.breaker.record_failure(self.now);
        self.told.tell(event.map(LoadEvent::Breaker));
    }
}

#[cfg(test)]
#[path = "loads_tests.rs"]
mod tests;
