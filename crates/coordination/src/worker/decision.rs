//! A round is decided.

use super::{Stand, Worker};
use crate::{Event, Isolation, Output, Proven, Round};

impl Worker {
    /// Takes a decision whose certificate is genuine.
    pub(super) fn learn(&mut self, proven: Proven) {
        if self.compare(&proven) {
            return;
        }
        let (round, previous) = (proven.certificate.round, proven.plan.previous);
        self.promises.known = self.promises.known.max(Some((round, proven.certificate.hash)));
        self.keep_decision(&proven);
        self.decisions.insert(round, proven);
        while self.decisions.len() > self.settings.decisions {
            self.decisions.pop_first();
        }
        let has_come = match self.came {
            Some(came) => round <= came,
            // It was restored behind the round, which was open.
            None => round.era == self.ledger.era() && round.step < self.next,
        };
        if self.is_lost() || !self.ledger.covers(round) {
            return;
        }
        if has_come {
            self.settle(round);
        } else if previous == self.ledger.tip() {
            self.skip_to(round);
        } else if let (Some(missing), Some(came)) = (self.missing_before(round), self.came) {
            // It has gone past a round that was decided, or is so far behind that nobody keeps what it would need.
            let behind = missing.step.saturating_sub(came.step) / self.settings.every;
            if missing < came || behind > self.settings.decisions as u64 {
                self.isolate(round, Isolation::Missed);
            }
        }
    }

    /// After a restart: takes decisions that this worker has kept, of rounds that its checkpoint has come to and does not
    /// know the end of.
    pub(super) fn settle_passed(&mut self) {
        let (era, next) = (self.ledger.era(), self.next);
        let is_passed = |round: &Round| round.era == era && round.step < next;
        let passed: Vec<_> = self.decisions.keys().copied().filter(is_passed).collect();
        for round in passed {
            if self.ledger.tip().is_none_or(|(tip, _)| tip < round) && self.ledger.covers(round) && !self.is_lost() {
                self.settle(round);
            }
        }
    }

    /// The last round before this one that was decided and whose decision this worker does not know.
    fn missing_before(&self, round: Round) -> Option<Round> {
        let mut previous = self.decisions.get(&round)?.plan.previous?.0;
        while let Some(known) = self.decisions.get(&previous) {
            previous = known.plan.previous?.0;
        }
        self.ledger.tip().is_none_or(|(tip, _)| tip < previous).then_some(previous)
    }

    /// Whether the round's decision was known. If it was another one, the group cannot be trusted any more.
    pub(super) fn compare(&mut self, proven: &Proven) -> bool {
        let round = proven.certificate.round;
        let known = self.decisions.get(&round).map(|known| known.certificate.hash);
        let Some(known) = known.or_else(|| self.ledger.decided(round)) else { return false };
        if known != proven.certificate.hash && self.is_proven(&proven.certificate) {
            self.event(Event::AgreementBroken { round });
            self.isolate(round, Isolation::Conflict);
        }
        true
    }

    /// Takes the decision of a round that the replica has come to.
    pub(super) fn settle(&mut self, round: Round) {
        let Some(Proven { plan, certificate }) = self.decisions.get(&round) else { return };
        let hash = certificate.hash;
        if plan.apply_at < self.next || plan.previous != self.ledger.tip() {
            self.isolate(round, Isolation::Missed);
            return;
        }
        let decided = self.ledger.decide(round, hash, plan, &self.settings);
        // Earlier rounds cannot be decided any more: a quorum knows that nothing comes between.
        self.promises.close(&self.ledger);
        self.open.retain(|other, _| *other > round);
        self.left.retain(|other| *other > round);
        if self.bound_to().is_none() {
            self.stand = match self.stand {
                Stand::AtBarrier { since } if self.came != Some(round) => Stand::AtBarrier { since },
                Stand::Running | Stand::AtBarrier { .. } | Stand::AtPlan { .. } | Stand::Isolated(_) => Stand::Running,
            };
        }
        self.emit(Output::Decided(decided));
        if std::mem::take(&mut self.paused) {
            self.event(Event::GerminationResumed { round });
        }
    }

    pub(super) fn isolate(&mut self, round: Round, cause: Isolation) {
        if self.is_lost() || self.isolation() == Some(cause) {
            return;
        }
        self.stand = Stand::Isolated(cause);
        self.event(Event::Isolated { round, cause });
        self.emit(Output::Isolated { round, cause });
    }
}
