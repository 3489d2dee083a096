//! The replica comes to a round, and to a step.

use kasmina_leyline::Monotonic;

use super::{Open, Stand, Worker};
use crate::{
    Isolation, Message, Misuse, Output, Pace, Phase, Promise, Proposal, Report, Rollback, Round, SignedPromise, To,
    plan::sorted,
};

/// How many rounds without a decision a worker remembers its part in. In all of them something may have been accepted by
/// somebody who waits for the end. A group that decides nothing for longer than that has lost more than it can bear.
pub(super) const OPEN_ROUNDS: usize = 64;

impl Worker {
    /// The replica has come to a step at which a round is held, and has not begun it. Wait until the outputs or
    /// [`advance`](Self::advance) say how it ended.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn arrive(&mut self, step: u64, report: Report, now: Monotonic) -> Result<(), Misuse> {
        self.check_step(step)?;
        if !step.is_multiple_of(self.settings.every) {
            return Err(Misuse::NotABarrier { step, every: self.settings.every });
        }
        let round = Round { era: self.ledger.era(), step };
        if let Some((earlier, _)) = self.bound_to().filter(|(earlier, apply_at)| *earlier < round && step >= *apply_at)
        {
            return Err(Misuse::Waiting { round: earlier });
        }
        self.next = step;
        self.ledger.begin(round);
        let last = self.decisions.range(..round).next_back().map(|(last, _)| *last);
        let has_missed = last.is_some_and(|last| self.ledger.tip().is_none_or(|(tip, _)| tip < last));
        if has_missed || self.decisions.keys().any(|other| other.era > round.era) {
            self.isolate(round, Isolation::Missed);
            return Ok(());
        }
        if self.promises.newest.is_none_or(|newest| round > newest) {
            self.promises.newest = Some(round);
            self.promises.rounds.entry(round).or_default();
            // Not those in which it has accepted something.
            while self.promises.rounds.len() > OPEN_ROUNDS
                && let Some(oldest) = self.promises.rounds.iter().find(|(_, it)| it.lock.is_none()).map(|(at, _)| *at)
            {
                self.promises.rounds.remove(&oldest);
                self.promises.floor = self.promises.floor.max(Some(oldest));
                self.open.remove(&oldest);
            }
        }
        let report = self.complete(report);
        let lock = self.promises.rounds.get(&round).and_then(|given| given.lock.as_ref());
        self.open.entry(round).or_insert_with(|| Open::again(lock)).report = Some(report);
        self.came = Some(round);
        self.retry_at = now.after(self.settings.retry);
        self.ahead.clear();
        self.stand = Stand::AtBarrier { since: now };
        if self.decisions.contains_key(&round) {
            self.settle(round);
            return Ok(());
        }
        if self.lease.is_none() {
            self.emit(Output::CheckLease);
        }
        self.promise(round, now);
        for message in self.early.take(round) {
            self.handle(message, now);
        }
        Ok(())
    }

    /// The replica is about to begin a step.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn advance(&mut self, step: u64, now: Monotonic) -> Result<Pace, Misuse> {
        if let Stand::Isolated(cause) = self.stand {
            return Ok(Pace::Isolated(cause));
        }
        self.check_step(step)?;
        if self.is_waiting() {
            return Ok(Pace::Wait);
        }
        let barrier = step - step % self.settings.every;
        if barrier >= self.next && self.came != Some(Round { era: self.ledger.era(), step: barrier }) {
            return Err(Misuse::SkippedBarrier { step: barrier });
        }
        if self.bound_to().is_some_and(|(_, apply_at)| step >= apply_at) {
            self.stand = Stand::AtPlan { since: now };
            return Ok(Pace::Wait);
        }
        if let Some(due) = self.ledger.due().filter(|due| due.plan.apply_at <= step)
            && let Some(Rollback::Go { epoch, .. }) = due.plan.rollback
        {
            return Ok(Pace::GoBack { epoch });
        }
        self.next = step.saturating_add(1);
        self.ledger.advance(step);
        Ok(Pace::Go)
    }

    /// The replica has gone back to a checkpoint, as the last decision says, and is about to begin this step. Its ledger
    /// stays: no order is applied twice, even if its effect is gone.
    ///
    /// # Errors
    /// [`Misuse::NoRollback`].
    pub fn went_back(&mut self, step: u64) -> Result<(), Misuse> {
        let due = self.ledger.due().filter(|due| matches!(due.plan.rollback, Some(Rollback::Go { .. })));
        let round = due.ok_or(Misuse::NoRollback)?.round;
        self.ledger.go_back(round);
        self.promises.close(&self.ledger);
        self.open.clear();
        self.came = None;
        self.next = step;
        Ok(())
    }

    const fn check_step(&self, step: u64) -> Result<(), Misuse> {
        match self.stand {
            Stand::Isolated(cause) => Err(Misuse::Isolated(cause)),
            Stand::Running | Stand::AtBarrier { .. } | Stand::AtPlan { .. } if step < self.next => {
                Err(Misuse::Backwards { step, next: self.next })
            }
            Stand::Running | Stand::AtBarrier { .. } | Stand::AtPlan { .. } => Ok(()),
        }
    }

    /// A round in which it has voted for a plan, or accepted it, and whose end it does not know; and the step that must
    /// not begin before that.
    pub(super) fn bound_to(&self) -> Option<(Round, u64)> {
        let bound = |(round, given): (&Round, &crate::keep::Given)| {
            let lock = given.lock.as_ref().map(|lock| lock.plan.apply_at);
            let voted = given.voted.map(|voted| voted.apply_at).filter(|_| !self.left.contains(round));
            let apply_at = lock.into_iter().chain(voted).filter(|apply_at| *apply_at >= self.next).min()?;
            Some((*round, apply_at))
        };
        let now = self.promises.rounds.iter().filter(|(round, _)| round.era == self.ledger.era());
        now.filter_map(bound).min_by_key(|(_, apply_at)| *apply_at)
    }

    /// A report with what can be proposed: orders that were not decided yet, as many as fit.
    fn complete(&self, mut report: Report) -> Report {
        report.pending = sorted(report.pending);
        report.pending.retain(|order| self.ledger.admits(order));
        report.pending.truncate(self.settings.limits.fit(&report.pending));
        report.checkpoints.truncate(self.settings.limits.checkpoints);
        report.digest.sketch.truncate(self.settings.limits.sketch);
        report
    }

    /// Proposes in all open rounds.
    pub(super) fn promise_all(&mut self, now: Monotonic) {
        let rounds: Vec<_> = self.open.keys().copied().collect();
        rounds.into_iter().for_each(|round| self.promise(round, now));
    }

    /// Proposes to the holder that the worker knows, or says again what it has said.
    pub(super) fn promise(&mut self, round: Round, now: Monotonic) {
        let Some(lease) = self.lease.filter(|lease| lease.token >= self.promises.token) else { return };
        let Some(given) = self.promises.rounds.get(&round).filter(|_| !self.is_lost()) else { return };
        let said = given.proposal.as_ref();
        let proposal = if let Some(said) = said.filter(|said| said.promise.signed.statement.token == lease.token) {
            said.clone()
        } else {
            let is_voted = given.voted.is_some_and(|voted| voted.token >= lease.token)
                || given.lock.as_ref().is_some_and(|lock| lock.certificate.token >= lease.token);
            let report = self.open.get(&round).and_then(|open| open.report.clone());
            // Once it has voted or accepted under this token, it has promised as much. Without a report it says what it has accepted.
            let Some(report) = report.or_else(|| said.map(|said| said.report.clone())).filter(|_| !is_voted) else {
                return;
            };
            let lock = given.lock.clone();
            let promise = Promise {
                holder: lease.holder,
                report: report.hash(),
                at: report.at,
                checkpoints: report.checkpoints.clone(),
                present: round.step.saturating_add(self.settings.lead) >= self.next,
                locked: lock.as_ref().map(|lock| (lock.certificate.token, lock.certificate.hash)),
            };
            let signed = self.sign(Phase::Propose, round, lease.token, promise.hash());
            let proposal = Proposal { promise: SignedPromise { promise, signed }, report, locked: lock };
            self.promises.token = lease.token;
            self.promises.rounds.entry(round).or_default().proposal = Some(proposal.clone());
            self.keep();
            proposal
        };
        if lease.holder == self.me {
            self.take_proposal(proposal, now);
        } else {
            self.send(To::One(lease.holder), Message::Propose(Box::new(proposal)));
        }
    }
}
