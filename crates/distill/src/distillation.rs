//! A teacher at work.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use burn::{
    module::Module,
    tensor::{Tensor, backend::AutodiffBackend},
};
use kasmina_leyline::{
    Monotonic,
    v1::CircuitBreakerState::{self, CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
};
use kasmina_memory::{Cache, CacheStats, Evicted, Reservation};
use kasmina_safety::{Breaker, BreakerEvent, Clock};
use kasmina_telemetry::{Event, names};

use crate::{
    Activations, DistillError, DistillSettings, Lesson, Softened, Teacher,
    lesson::{Answer, Note},
};

/// Events that wait to be taken; the oldest go first. Our choice: a trainer that takes them after each step never has so many.
const MOST_EVENTS: usize = 64;

/// The attribute `breaker` of the breaker's events.
const BREAKER: &str = "teacher";

/// What a distillation has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistillStats {
    /// Batches that had an answer of the teacher.
    pub taught: u64,
    /// Batches that had none.
    pub untaught: u64,
    /// Of the answers, what was held, found and evicted.
    pub cache: CacheStats,
}

/// A teacher, a cache of its answers, and a breaker that stops asking it after repeated failures. Whatever fails, training goes on: a
/// [`Lesson`] without an answer leaves the task's loss as it is.
///
/// `B` is the backend that the student learns on. `M` is the teacher's module, on the backend below it.
pub struct Distillation<B: AutodiffBackend, M> {
    settings: DistillSettings,
    clock: Arc<dyn Clock>,
    teacher: Option<Teacher<B::InnerBackend, M>>,
    cache: Cache<u64, Arc<Answer<B::InnerBackend>>>,
    /// What the cache may hold, if that was reserved.
    cache_reservation: Option<Reservation>,
    breaker: Breaker,
    /// The note of the last lesson that had an answer.
    last: Option<Note>,
    /// Why the last batch was not taught.
    reason: Option<&'static str>,
    events: Vec<Event>,
    taught: u64,
    untaught: u64,
}

/// An answer, and whether it was in the cache.
type Answered<B> = (Arc<Answer<B>>, bool);

impl<B: AutodiffBackend, M: Module<B::InnerBackend>> Distillation<B, M> {
    /// Without a teacher: every lesson leaves the task's loss as it is, until [`load`](Self::load) brings one.
    ///
    /// # Errors
    /// [`DistillError::Setting`].
    pub fn off(settings: DistillSettings, clock: Arc<dyn Clock>) -> Result<Self, DistillError> {
        settings.check()?;
        Ok(Self {
            settings,
            clock,
            teacher: None,
            cache: Cache::new(settings.cache()),
            cache_reservation: None,
            breaker: Breaker::new(settings.breaker),
            last: None,
            reason: None,
            events: Vec::new(),
            taught: 0,
            untaught: 0,
        })
    }

    /// With a teacher.
    ///
    /// # Errors
    /// [`DistillError::Setting`].
    pub fn new(
        settings: DistillSettings,
        teacher: Teacher<B::InnerBackend, M>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DistillError> {
        Ok(Self { teacher: Some(teacher), ..Self::off(settings, clock)? })
    }

    /// Keeps a reservation for what the cache may hold (`cache_bytes` of the settings), as long as there is a teacher.
    #[must_use]
    pub fn reserving_cache(mut self, reservation: Reservation) -> Self {
        self.cache_reservation = Some(reservation);
        self
    }

    /// Loads a teacher in place of the one that there was. `load` looks at the file, reserves the memory and reads it. A failure is counted:
    /// while the breaker is open, `load` is not called.
    ///
    /// # Errors
    /// What `load` returned, or [`DistillError::Breaker`]. There is no teacher then, because the old one has made room before.
    pub fn load(
        &mut self,
        load: impl FnOnce() -> Result<Teacher<B::InnerBackend, M>, DistillError>,
    ) -> Result<&Teacher<B::InnerBackend, M>, DistillError> {
        let now = self.clock.monotonic();
        self.drop_teacher();
        self.allow(now)?;
        let loaded = load();
        self.record(loaded.is_ok(), now);
        Ok(self.teacher.insert(loaded?))
    }

    /// Asks the teacher about a batch, once, before the step. The same number must name the same inputs in the same order: the answer is
    /// taken from the cache if it is there. `forward` runs the teacher; what it records in the [`Activations`] can be matched.
    ///
    /// There is an answer, or the lesson says why not: there is no teacher (any more), the breaker is open, `forward` has failed, or a logit
    /// is not finite. The last two count as failures, and two of them in the breaker's window open it.
    pub fn teach(
        &mut self,
        batch: u64,
        forward: impl FnOnce(&M, &Activations<B::InnerBackend>) -> Result<Tensor<B::InnerBackend, 2>, DistillError>,
    ) -> Lesson<B> {
        let now = self.clock.monotonic();
        self.tend();
        self.conclude(now);
        let answer = self.answer(batch, forward, now);
        self.tell(answer.as_ref().err());
        let (answer, cached) = match answer {
            Ok((answer, cached)) => (Ok(answer), cached),
            Err(error) => (Err(error), false),
        };
        *(if answer.is_ok() { &mut self.taught } else { &mut self.untaught }) += 1;
        let note = Note::default();
        self.last = answer.is_ok().then(|| Arc::clone(&note));
        Lesson { answer, settings: self.settings, cached, note }
    }

    fn answer(
        &mut self,
        batch: u64,
        forward: impl FnOnce(&M, &Activations<B::InnerBackend>) -> Result<Tensor<B::InnerBackend, 2>, DistillError>,
        now: Monotonic,
    ) -> Result<Answered<B::InnerBackend>, DistillError> {
        if self.teacher.is_none() {
            return Err(DistillError::NoTeacher);
        }
        self.allow(now)?;
        if let Some(answer) = self.cache.get(&batch, now) {
            return Ok((Arc::clone(answer), true));
        }
        let teacher = self.teacher.as_ref().ok_or(DistillError::NoTeacher)?;
        let answer = ask(teacher, forward, self.settings.temperature);
        if answer.is_err() {
            self.record(false, now);
        }
        let answer = Arc::new(answer?);
        // One that exceeds the whole budget is asked for each time, and counted as a refusal.
        let _ = self.cache.insert(batch, Arc::clone(&answer), answer.bytes(), now);
        Ok((answer, false))
    }

    /// Counts how the last lesson went.
    fn conclude(&mut self, now: Monotonic) {
        let Some(note) = self.last.take() else { return };
        let failure = note.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.record(failure.is_none(), now);
        if let Some(failure) = failure {
            (self.taught, self.untaught) = (self.taught.saturating_sub(1), self.untaught + 1);
            self.tell(Some(&failure));
        }
    }

    /// Drops the teacher if its memory was asked back. [`teach`](Self::teach) does the same. Returns whether it was dropped.
    pub fn tend(&mut self) -> bool {
        let withdrawn = self.teacher.as_ref().is_some_and(Teacher::is_withdrawn);
        if withdrawn {
            self.drop_teacher();
        }
        withdrawn
    }

    /// Drops the teacher, its answers, and what is reserved for both.
    pub fn drop_teacher(&mut self) {
        self.teacher = None;
        self.cache.purge();
        self.cache_reservation = None;
    }

    /// Evicts all answers. They can be had again.
    pub fn purge_cache(&mut self) -> Evicted {
        self.cache.purge()
    }

    /// The teacher, while there is one.
    #[must_use]
    pub const fn teacher(&self) -> Option<&Teacher<B::InnerBackend, M>> {
        self.teacher.as_ref()
    }

    /// The state of the breaker, as of the last call.
    #[must_use]
    pub const fn breaker(&self) -> CircuitBreakerState {
        self.breaker.state()
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> DistillStats {
        DistillStats { taught: self.taught, untaught: self.untaught, cache: self.cache.stats() }
    }

    /// The events since the last call, for the telemetry of the run: a batch that was not taught, each time the reason changes
    /// (`distillation_skipped`), and what the breaker does.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn allow(&mut self, now: Monotonic) -> Result<(), DistillError> {
        let event = self.breaker.allow(now).map_err(DistillError::Breaker)?;
        self.changed(event);
        Ok(())
    }

    fn record(&mut self, success: bool, now: Monotonic) {
        let event = if success { self.breaker.record_success(now) } else { self.breaker.record_failure(now) };
        self.changed(event);
    }

    fn changed(&mut self, event: Option<BreakerEvent>) {
        let Some(event) = event else { return };
        let name = match event.to {
            CircuitStateOpen | CircuitStateUnknown => names::BREAKER_OPEN,
            CircuitStateHalfOpen => names::BREAKER_HALF_OPEN,
            CircuitStateClosed => names::BREAKER_CLOSED,
        };
        self.emit(Event::new(name).with("breaker", BREAKER).with("cause", event.cause.reason()));
    }

    /// Tells why a batch is trained without the teacher, if it is another reason than before.
    fn tell(&mut self, failure: Option<&DistillError>) {
        let reason = failure.map(DistillError::reason);
        if let Some(failure) = failure.filter(|_| reason != self.reason) {
            let event =
                Event::new(names::DISTILLATION_SKIPPED).with("reason", failure.reason()).with("detail", failure);
            self.emit(event);
        }
        self.reason = reason;
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() == MOST_EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }
}

impl<B: AutodiffBackend, M> fmt::Debug for Distillation<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distillation")
            .field("settings", &self.settings)
            .field("teacher", &self.teacher)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// Runs a teacher.
fn ask<B: burn::tensor::backend::Backend, M: Module<B>>(
    teacher: &Teacher<B, M>,
    forward: impl FnOnce(&M, &Activations<B>) -> Result<Tensor<B, 2>, DistillError>,
    temperature: f32,
) -> Result<Answer<B>, DistillError> {
    let activations = Activations::new();
    let logits = forward(teacher.module(), &activations)?;
    let softened = Softened::new(logits.clone(), temperature)?;
    Ok(Answer { logits, softened, activations })
}
