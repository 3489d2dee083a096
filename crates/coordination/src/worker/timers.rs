//! Time passes.

use std::{collections::BTreeSet, time::Duration};

use kasmina_leyline::Monotonic;

use super::{Stand, Worker};
use crate::{Event, Isolation, Message, Output, Phase, Round, To, Undecided, WorkerId};

impl Worker {
    /// It is this time. Too early, too late or twice does no harm.
    pub fn tick(&mut self, now: Monotonic) {
        self.steer_all(now);
        match self.stand {
            Stand::AtBarrier { since } if now >= self.patience(since) => self.leave_barrier(now),
            Stand::AtPlan { since } if now >= self.patience_at_plan(since) => self.leave_plan(now),
            Stand::Running | Stand::AtBarrier { .. } | Stand::AtPlan { .. } | Stand::Isolated(_) => {}
        }
        self.ask_again(now);
    }

    /// When to call [`tick`](Self::tick) next, if nothing happens before.
    #[must_use]
    pub fn wake(&self, now: Monotonic) -> Option<Monotonic> {
        let deadline = match self.stand {
            Stand::AtBarrier { since } => Some(self.patience(since)),
            Stand::AtPlan { since } => Some(self.patience_at_plan(since)),
            Stand::Running | Stand::Isolated(_) => None,
        };
        let retry = (!self.open.is_empty() && !self.is_lost()).then_some(self.retry_at);
        [deadline, retry, self.steer_at(now)].into_iter().flatten().min()
    }

    /// Stops waiting for a round.
    fn leave_barrier(&mut self, now: Monotonic) {
        let Some(round) = self.came else { return };
        self.stand = Stand::Running;
        match self.bound_to() {
            Some((round, apply_at)) => self.emit(Output::Promised { round, apply_at }),
            None => {
                let cause = self.why_undecided(round, now);
                self.undecided(round, cause);
            }
        }
        self.yield_lease(now);
    }

    /// Stops waiting at the step of a plan. A vote alone does not decide anything; what it has accepted may have been
    /// decided.
    fn leave_plan(&mut self, now: Monotonic) {
        let Some((round, _)) = self.bound_to() else {
            self.stand = Stand::Running;
            return;
        };
        self.yield_lease(now);
        if self.has_accepted() {
            self.isolate(round, Isolation::Undecided);
        } else {
            self.left.insert(round);
            self.stand = Stand::Running;
            self.undecided(round, Undecided::TimedOut);
        }
    }

    fn undecided(&mut self, round: Round, cause: Undecided) {
        self.emit(Output::NoDecision { round, cause });
        if !self.paused {
            self.paused = true;
            self.event(Event::GerminationPaused { round, cause });
        }
    }

    fn yield_lease(&mut self, now: Monotonic) {
        if self.is_stuck(now) {
            self.holding = None;
            self.emit(Output::YieldLease);
        }
    }

    fn why_undecided(&self, round: Round, now: Monotonic) -> Undecided {
        let came = self.open.get(&round).map_or(0, |open| open.proposals.len());
        if self.lease.is_none() {
            Undecided::NoHolder
        } else if self.token_held(now).is_some() && came < self.membership.quorum() {
            Undecided::NoQuorum
        } else {
            Undecided::TimedOut
        }
    }

    /// Asks all for the decision of a round.
    pub(super) fn ask(&mut self, round: Round) {
        let query = self.sign(Phase::Ask, round, 0, [0; 32]);
        self.send(To::All, Message::Query(query));
    }

    /// Until when it waits for its round: half as long for each worker that has gone on. If all waited equally long, those
    /// that are a round ahead would stay ahead for ever, and no quorum would meet. If the rest is not a quorum, it waits
    /// only until it has asked for the decision once.
    fn patience(&self, since: Monotonic) -> Monotonic {
        // Two waits of one round are together shorter than one of those that are ahead.
        let again = u32::from(matches!(self.stand, Stand::AtPlan { .. }) && !self.ahead.is_empty());
        let ahead = u32::try_from(self.ahead.len()).unwrap_or(u32::MAX).min(16) + again;
        let is_later = self.decisions.keys().next_back().copied() > self.came;
        let is_overtaken = is_later || self.ahead.len() + self.membership.quorum() > self.membership.workers();
        let wait = if is_overtaken { Duration::ZERO } else { self.settings.timeout / 2_u32.pow(ahead) };
        since.after(wait.max(self.settings.retry * 2))
    }

    /// The same at the step of a plan, if it has only voted for it.
    fn patience_at_plan(&self, since: Monotonic) -> Monotonic {
        if self.has_accepted() { since.after(self.settings.timeout) } else { self.patience(since) }
    }

    /// Whether it has accepted what it waits for.
    fn has_accepted(&self) -> bool {
        let given = self.bound_to().and_then(|(round, _)| self.promises.rounds.get(&round));
        given.is_some_and(|given| given.lock.is_some())
    }

    /// Hears where another worker is.
    pub(super) fn note_place(&mut self, worker: WorkerId, round: Round) {
        if self.came.is_some_and(|came| round > came) && self.is_waiting() {
            self.ahead.insert(worker);
        }
    }

    /// A later round was decided, and it follows the last decision that this worker knows: nothing comes between.
    pub(super) fn skip_to(&mut self, round: Round) {
        self.open.retain(|other, _| *other >= round);
        if let Some(step) = round.step.checked_sub(1) {
            self.promises.forget(Round { step, ..round });
        }
        self.left.retain(|other| *other >= round);
        self.keep();
        if let Some(came) = self.came
            && self.stand != Stand::Running
        {
            self.stand = Stand::Running;
            self.undecided(came, Undecided::Skipped);
        }
    }

    fn ask_again(&mut self, now: Monotonic) {
        if self.open.is_empty() || self.is_lost() || now < self.retry_at {
            return;
        }
        self.retry_at = now.after(self.settings.retry);
        self.emit(Output::CheckLease);
        let newest = self.open.keys().next_back().copied();
        let bound = self.bound_to().map(|(round, _)| round);
        // Of the older ones one at a time.
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % self.open.len();
        let older = self.open.keys().nth(turn).copied();
        let rounds: BTreeSet<_> = [newest, bound, older].into_iter().flatten().collect();
        for round in rounds {
            let voted = self.promises.rounds.get(&round).and_then(|given| given.voted).map(|voted| voted.token);
            if voted.is_none() || voted != self.lease.map(|lease| lease.token) {
                self.promise(round, now);
            }
            self.ask(round);
        }
    }
}
