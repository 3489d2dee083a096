//! One replica's part in the rounds: a state machine without thread, clock or I/O.

mod arrival;
mod decision;
mod holder;
mod inbox;
mod open;
mod timers;
mod voting;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use kasmina_leyline::Monotonic;

pub use self::inbox::Rejected;
use self::{inbox::Early, open::Open};
use crate::{
    BadKeep, Event, Isolation, Kept, Ledger, Membership, MembershipError, Message, Output, Phase, Proven, Round,
    SecretKey, Settings, SettingsError, Signed, Statement, To, WorkerId,
    evidence::Watch,
    keep::{self, Promises},
    statement::Hash,
};

/// One replica's part in the rounds, and the holder's part while it has the lease.
///
/// The caller tells it what happens, carries out its [outputs](Self::take_outputs) in their order, and calls
/// [`tick`](Self::tick) at the time of [`wake`](Self::wake). Time is an argument, of one clock.
#[derive(Clone, Debug)]
pub struct Worker {
    settings: Settings,
    membership: Arc<Membership>,
    key: SecretKey,
    me: WorkerId,
    promises: Promises,
    decisions: BTreeMap<Round, Proven>,
    ledger: Ledger,
    /// The first step that has not begun.
    next: u64,
    stand: Stand,
    /// The last round that it has come to.
    came: Option<Round>,
    /// Rounds that it has come to and that may still be decided.
    open: BTreeMap<Round, Open>,
    /// Open rounds in which it has only voted, and for whose end it does not wait any more.
    left: BTreeSet<Round>,
    /// Workers that have spoken of a later round since it has come to its own.
    ahead: BTreeSet<WorkerId>,
    /// When it asks again about open rounds.
    retry_at: Monotonic,
    /// Which of the older rounds it asks about next.
    turn: usize,
    lease: Option<Lease>,
    /// Until when this worker holds it.
    holding: Option<Monotonic>,
    watch: Watch,
    early: Early,
    paused: bool,
    outputs: VecDeque<Output>,
}

/// Who holds the lease, as far as this worker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    token: u64,
    holder: WorkerId,
}

/// What the replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Running,
    AtBarrier {
        since: Monotonic,
    },
    /// At the step of a plan that it has accepted.
    AtPlan {
        since: Monotonic,
    },
    /// [`Isolation::Undecided`] ends with the decision, if that comes before the replica was restored.
    Isolated(Isolation),
}

/// Why a worker cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The key is not a member's.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// What was kept cannot be read.
    #[error(transparent)]
    Keep(#[from] BadKeep),
}

impl Worker {
    /// A worker that has never promised anything, about to begin step 0.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(settings: Settings, membership: Arc<Membership>, key: SecretKey) -> Result<Self, StartError> {
        Self::resume(settings, membership, key, [], Ledger::default(), 0)
    }

    /// A worker after a restart, or one that was restored from another replica's checkpoint: with what it has itself
    /// [kept](Output::Keep), and with the ledger and the step of the checkpoint. A plan that was decided before the
    /// checkpoint, and whose step comes after it, is an output again.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn resume(
        settings: Settings,
        membership: Arc<Membership>,
        key: SecretKey,
        kept: impl IntoIterator<Item = Kept>,
        ledger: Ledger,
        next: u64,
    ) -> Result<Self, StartError> {
        settings.check()?;
        let me = membership.find(&key.public())?;
        let (mut promises, mut decisions) = (Promises::default(), BTreeMap::new());
        for kept in kept {
            match kept {
                Kept::Promises(bytes) => promises = Promises::from_bytes(&bytes, &membership, &settings)?,
                Kept::Decision { bytes, .. } => {
                    let proven = keep::decision(&bytes, &membership, &settings)?;
                    decisions.insert(proven.certificate.round, proven);
                }
            }
        }
        promises.close(&ledger);
        let last =
            decisions.last_key_value().map(|(round, proven): (&Round, &Proven)| (*round, proven.certificate.hash));
        promises.known = promises.known.max(last);
        let is_now = |round: &Round| round.era == ledger.era();
        let open = promises.rounds.iter().filter(|(round, _)| is_now(round));
        let open = open.map(|(round, given)| (*round, Open::again(given.lock.as_ref()))).collect();
        let due = ledger.due().filter(|due| due.plan.apply_at >= next).cloned();
        let mut worker = Self {
            settings,
            membership,
            key,
            me,
            promises,
            decisions,
            ledger,
            next,
            stand: Stand::Running,
            came: None,
            open,
            left: BTreeSet::new(),
            ahead: BTreeSet::new(),
            retry_at: Monotonic::ORIGIN,
            turn: 0,
            lease: None,
            holding: None,
            watch: Watch::default(),
            early: Early::default(),
            paused: false,
            outputs: due.map(Output::Decided).into_iter().collect(),
        };
        worker.settle_passed();
        Ok(worker)
    }

    /// Its place in the membership.
    #[must_use]
    pub const fn id(&self) -> WorkerId {
        self.me
    }

    /// The members.
    #[must_use]
    pub const fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What has been decided, for the replica's checkpoint.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was decided in a round, with the signatures, if it is still kept.
    #[must_use]
    pub fn decision(&self, round: Round) -> Option<&Proven> {
        self.decisions.get(&round)
    }

    /// The first step that has not begun.
    #[must_use]
    pub const fn next_step(&self) -> u64 {
        self.next
    }

    /// Whether the last round ended without a decision. Nothing should germinate then.
    #[must_use]
    pub const fn germination_paused(&self) -> bool {
        self.paused
    }

    /// The highest token that it has seen or promised to obey.
    #[must_use]
    pub fn highest_token(&self) -> u64 {
        self.lease.map_or(0, |lease| lease.token).max(self.promises.token)
    }

    /// Whether it is out of lock-step.
    #[must_use]
    pub const fn isolation(&self) -> Option<Isolation> {
        match self.stand {
            Stand::Isolated(cause) => Some(cause),
            Stand::Running | Stand::AtBarrier { .. } | Stand::AtPlan { .. } => None,
        }
    }

    /// Whether it is out of lock-step for good: it takes no part any more.
    const fn is_lost(&self) -> bool {
        matches!(self.isolation(), Some(Isolation::Missed | Isolation::Conflict))
    }

    /// Whether it waits for a decision.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.stand, Stand::AtBarrier { .. } | Stand::AtPlan { .. })
    }

    /// Whether it speaks for the group: it holds the lease at this time by its own clock, and knows of no higher token.
    /// What only one replica may say (telemetry, field reports) is said by the one for which this is true.
    #[must_use]
    pub fn speaks(&self, now: Monotonic) -> bool {
        self.token_held(now).is_some() && self.isolation().is_none()
    }

    /// What is to be done, oldest first. They are taken away.
    pub fn take_outputs(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.outputs.drain(..)
    }

    /// Somebody holds the lease: this is what the lease itself says, not what a message claims. Lower tokens than one
    /// that was seen are ignored.
    pub fn lease_seen(&mut self, token: u64, holder: WorkerId, now: Monotonic) {
        if self.lease.is_some_and(|lease| lease.token >= token) || !self.membership.has(holder) {
            return;
        }
        self.lease = Some(Lease { token, holder });
        if holder != self.me {
            self.holding = None;
        }
        self.promise_all(now);
    }

    /// This worker holds the lease until then, by the clock of all other arguments. Call it again when the lease was
    /// renewed.
    pub fn lease_held(&mut self, token: u64, until: Monotonic, now: Monotonic) {
        if self.lease.is_some_and(|lease| lease.token > token) {
            return;
        }
        self.holding = Some(until);
        self.lease_seen(token, self.me, now);
        self.steer_all(now);
    }

    /// This worker does not hold the lease any more.
    pub fn lease_lost(&mut self) {
        self.holding = None;
    }

    /// Its token, if it holds the lease.
    fn token_held(&self, now: Monotonic) -> Option<u64> {
        let lease = self.lease.filter(|lease| lease.holder == self.me)?;
        self.holding.filter(|until| now < *until).map(|_| lease.token)
    }

    fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn event(&mut self, event: Event) {
        self.emit(Output::Event(event));
    }

    fn send(&mut self, to: To, message: Message) {
        if to != To::One(self.me) {
            self.emit(Output::Send { to, message: Arc::new(message) });
        }
    }

    fn keep(&mut self) {
        let bytes = self.promises.to_bytes(&self.membership);
        self.emit(Output::Keep(Kept::Promises(bytes)));
    }

    fn sign(&self, phase: Phase, round: Round, token: u64, hash: Hash) -> Signed {
        let statement = Statement { phase, round, token, hash, worker: self.me };
        Signed::new(statement, &self.membership, &self.key)
    }
}
