//! A worker with a bus, a lease, a clock and a disk: what a trainer's loop calls.

use std::{fmt, io, time::Duration};

use kasmina_leyline::{Monotonic, TrainingRunId, v1::BusMessageType};
use kasmina_oona::{Bus, BusError, Message as Envelope, Stream, Subscription};
use kasmina_safety::Clock;

use crate::{
    Decided, Event, Isolation, Keeper, Lease, LeaseError, Message, Misuse, Output, Pace, Report, Round, To, Undecided,
    Worker, WorkerId,
};

/// How many deliveries are taken in one turn.
const BATCH: usize = 256;
/// The attribute of an envelope that names the only worker that it is for.
const TO: &str = "to";

/// How a round, or the wait for a decision, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one in a round")]
pub enum Outcome {
    /// Apply the orders before the step that the plan names.
    Decided(Decided),
    /// Nothing is decided: train on.
    NoDecision {
        /// The round.
        round: Round,
        /// Why.
        cause: Undecided,
    },
    /// A plan is accepted, and whether it is decided is not known yet: train on, and [`Member::advance`] waits at its step.
    Promised {
        /// The round.
        round: Round,
        /// The step.
        apply_at: u64,
    },
    /// The replica is out of lock-step.
    Isolated {
        /// The round.
        round: Round,
        /// Why.
        cause: Isolation,
    },
}

/// A member cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The caller has done something out of order.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// A promise could not be made durable. The member says nothing any more.
    #[error("what the worker promises is not durable: {0}")]
    Keep(#[source] io::Error),
    /// The bus cannot be used at all.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A worker with a bus, a lease, a clock and a disk.
///
/// All calls are those of the trainer's loop: there is no thread. Between rounds it has to be called at least every third
/// of the lease's time ([`poll`](Self::poll), or [`advance`](Self::advance) with each step); if steps take longer, the
/// lease goes to somebody else, which costs nothing but a token.
pub struct Member<B, L, K> {
    worker: Worker,
    bus: B,
    lease: L,
    keeper: K,
    clock: Box<dyn Clock>,
    ttl: Duration,
    /// When the lease is looked after next.
    lease_at: Monotonic,
    outcomes: Vec<Outcome>,
    events: Vec<Event>,
    counts: MemberCounts,
    is_mute: bool,
}

/// What a member has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberCounts {
    /// Messages sent.
    pub sent: u64,
    /// Messages that the bus did not take. They are sent again if they are still needed.
    pub refused: u64,
    /// Messages taken.
    pub received: u64,
    /// Messages that were for another worker.
    pub not_for_me: u64,
    /// Messages that were not of this group, could not be read, or were forged.
    pub rejected: u64,
    /// Times that the lease could not be asked for, and why the last time.
    pub lease_failures: u64,
    /// Why the last time.
    pub last_lease_failure: Option<LeaseError>,
}

impl<B: Bus, L: Lease, K: Keeper> Member<B, L, K> {
    /// A member. `ttl` is that of the lease.
    pub fn new(worker: Worker, bus: B, lease: L, keeper: K, clock: impl Clock + 'static, ttl: Duration) -> Self {
        Self {
            worker,
            bus,
            lease,
            keeper,
            clock: Box::new(clock),
            ttl,
            lease_at: Monotonic::ORIGIN,
            outcomes: Vec::new(),
            events: Vec::new(),
            counts: MemberCounts::default(),
            is_mute: false,
        }
    }

    /// Comes to the round of a step, and waits for its end: at most [`Settings::timeout`](crate::Settings::timeout).
    /// Gives what has come out since the last call, in order; the last is this round's outcome.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn barrier(&mut self, step: u64, report: Report) -> Result<Vec<Outcome>, MemberError> {
        self.begin(step, report)?;
        while self.worker.is_waiting() {
            self.wait();
            self.turn()?;
        }
        Ok(self.take_outcomes())
    }

    /// Comes to the round of a step, and does not wait: call [`turn`](Self::turn) until there are
    /// [outcomes](Self::take_outcomes).
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn begin(&mut self, step: u64, report: Report) -> Result<(), MemberError> {
        self.turn()?;
        let now = self.clock.monotonic();
        self.worker.arrive(step, report, now)?;
        self.carry_out()
    }

    /// Is about to begin a step. Waits if it has accepted a plan for it of which it does not know whether it is decided;
    /// look for [outcomes](Self::take_outcomes) afterwards.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn advance(&mut self, step: u64) -> Result<Pace, MemberError> {
        loop {
            self.turn()?;
            let pace = self.worker.advance(step, self.clock.monotonic())?;
            if pace != Pace::Wait {
                return Ok(pace);
            }
            self.wait();
        }
    }

    /// Takes what has come, without waiting, and gives the outcomes that follow from it.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn poll(&mut self) -> Result<Vec<Outcome>, MemberError> {
        self.turn()?;
        Ok(self.take_outcomes())
    }

    /// Takes what has come, and does what is due, without waiting.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn turn(&mut self) -> Result<(), MemberError> {
        if self.is_mute {
            return Err(MemberError::Keep(io::Error::other("an earlier promise was not made durable")));
        }
        if self.clock.monotonic() >= self.lease_at {
            self.look_after_lease();
        }
        let deliveries = self.bus.poll(BATCH)?;
        for delivery in deliveries {
            self.counts.received += 1;
            let to = delivery.envelope.attributes.get(TO);
            let is_mine = to.is_none_or(|to| *to == self.worker.id().0.to_string());
            if is_mine {
                let now = self.clock.monotonic();
                let taken = self.worker.receive(&delivery.envelope.payload, now);
                self.counts.rejected += u64::from(taken.is_err());
                self.carry_out()?;
            } else {
                self.counts.not_for_me += 1;
            }
            // What comes again changes nothing.
            self.bus.acknowledge(delivery.id)?;
        }
        self.worker.tick(self.clock.monotonic());
        self.carry_out()
    }

    /// Outcomes that have not been given yet.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// The replica has gone back to a checkpoint, as [`Pace::GoBack`] said.
    ///
    /// # Errors
    /// [`MemberError::Misuse`].
    pub fn went_back(&mut self, step: u64) -> Result<(), MemberError> {
        Ok(self.worker.went_back(step)?)
    }

    /// What has happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether it speaks for the group: see [`Worker::speaks`].
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.worker.speaks(self.clock.monotonic())
    }

    /// The worker, with the ledger that belongs into a checkpoint.
    #[must_use]
    pub const fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The bus.
    #[must_use]
    pub const fn bus(&self) -> &B {
        &self.bus
    }

    /// What it has done.
    #[must_use]
    pub const fn counts(&self) -> &MemberCounts {
        &self.counts
    }

    /// Gives the lease back, so that the others need not wait until it ends.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn leave(&mut self) -> Result<(), LeaseError> {
        self.worker.lease_lost();
        self.lease_at = self.clock.monotonic().after(self.ttl);
        self.lease.release()
    }

    fn wait(&self) {
        let now = self.clock.monotonic();
        let until = self.worker.wake(now).map_or(self.lease_at, |wake| wake.min(self.lease_at));
        self.bus.wait(until.since(now).max(Duration::from_micros(100)));
    }

    /// Renews the lease, takes it if it is free, or learns who has it.
    fn look_after_lease(&mut self) {
        let asked = self.clock.monotonic();
        self.lease_at = asked.after(self.ttl / 3);
        let is_out = matches!(self.worker.isolation(), Some(Isolation::Missed | Isolation::Conflict));
        let tenure = if is_out { self.lease.look() } else { self.lease.take(self.worker.highest_token()).map(Some) };
        let now = self.clock.monotonic();
        match tenure {
            // Its own clock may run slow by a tenth.
            Ok(Some(tenure)) if tenure.is_mine => {
                self.worker.lease_held(tenure.token, asked.after(self.ttl - self.ttl / 10), now);
            }
            Ok(Some(tenure)) => self.worker.lease_seen(tenure.token, tenure.holder, now),
            Ok(None) => {}
            Err(error) => {
                self.counts.lease_failures += 1;
                self.counts.last_lease_failure = Some(error);
            }
        }
    }

    fn carry_out(&mut self) -> Result<(), MemberError> {
        loop {
            let outputs: Vec<_> = self.worker.take_outputs().collect();
            if outputs.is_empty() {
                return Ok(());
            }
            for output in outputs {
                match output {
                    Output::Keep(kept) => self.keeper.keep(&kept).map_err(|error| {
                        self.is_mute = true;
                        MemberError::Keep(error)
                    })?,
                    Output::Send { to, message } => self.send(to, &message),
                    Output::CheckLease => self.look_after_lease(),
                    Output::YieldLease => {
                        // Others go first.
                        self.lease_at = self.clock.monotonic().after(self.ttl / 3);
                        self.counts.lease_failures += u64::from(self.lease.release().is_err());
                    }
                    Output::Decided(decided) => self.outcomes.push(Outcome::Decided(decided)),
                    Output::NoDecision { round, cause } => {
                        self.outcomes.push(Outcome::NoDecision { round, cause });
                    }
                    Output::Promised { round, apply_at } => {
                        self.outcomes.push(Outcome::Promised { round, apply_at });
                    }
                    Output::Isolated { round, cause } => {
                        self.counts.lease_failures += u64::from(self.lease.release().is_err());
                        self.worker.lease_lost();
                        self.outcomes.push(Outcome::Isolated { round, cause });
                    }
                    Output::Event(event) => self.events.push(event),
                }
            }
        }
    }

    fn send(&mut self, to: To, message: &Message) {
        let mut envelope = Envelope::new(BusMessageType::Coordination, message.encode(self.worker.membership()));
        if let To::One(worker) = to {
            envelope.envelope.attributes.insert(TO.to_owned(), worker.0.to_string());
        }
        match self.bus.publish(envelope) {
            Ok(_) => self.counts.sent += 1,
            Err(_) => self.counts.refused += 1,
        }
    }
}

/// What a member's bus has to be subscribed to: every member is a group of its own, because each gets all messages.
#[must_use]
pub fn subscription(run: &TrainingRunId, worker: WorkerId) -> Subscription {
    let group = format!("coordination-{run}-{}", worker.0);
    Subscription::new(group, "one", [Stream::Coordination])
}

impl<B, L, K> fmt::Debug for Member<B, L, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("worker", &self.worker.id())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
