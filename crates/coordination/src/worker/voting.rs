//! Votes for a plan, and accepting it.

use super::{Lease, Worker};
use crate::{
    Certificate, Event, Kept, Message, Output, Phase, Plan, Prepare, Proven, Round, Signed, Statement, To, Votes,
    WorkerId, justify::check, keep::Voted, statement::Hash,
};

impl Worker {
    /// Takes a plan of an open round.
    pub(super) fn on_prepare(&mut self, prepare: &Prepare) {
        let statement = prepare.signed.statement;
        if statement.token < self.promises.token {
            return;
        }
        let checked = check(prepare, &self.membership, &self.settings, |promise| self.is_genuine(&promise.signed));
        if let Err(cause) = checked {
            let (round, worker) = (statement.round, statement.worker);
            self.event(Event::Unjustified { round, worker, cause });
            return;
        }
        for promise in &prepare.promises {
            self.hear(&promise.signed);
        }
        // A quorum has seen the lease.
        if self.lease.is_none_or(|lease| lease.token < statement.token) {
            self.lease = Some(Lease { token: statement.token, holder: statement.worker });
        }
        if prepare.plan.previous != self.promises.known {
            self.on_gap(&prepare.plan, statement.worker);
            return;
        }
        if let Some(open) = self.open.get_mut(&statement.round) {
            open.plans.entry(statement.hash).or_insert_with(|| prepare.plan.clone());
        }
        self.vote(prepare);
        self.try_lock(statement.round, statement.token, statement.hash);
        self.try_decide(statement.round, statement.token, statement.hash);
    }

    /// The holder, or this worker, has missed a decision.
    fn on_gap(&mut self, plan: &Plan, holder: WorkerId) {
        let tip = self.ledger.tip();
        match plan.previous {
            Some((round, _)) if tip.is_none_or(|(tip, _)| round > tip) => {
                self.ask(round);
            }
            Some(_) | None => {
                let last = tip.and_then(|(round, _)| self.decisions.get(&round)).cloned();
                if let Some(proven) = last {
                    self.send(To::One(holder), Message::Commit(Box::new(proven)));
                }
            }
        }
    }

    fn vote(&mut self, prepare: &Prepare) {
        let Statement { round, token, hash, worker: holder, .. } = prepare.signed.statement;
        let apply_at = prepare.plan.apply_at;
        let has_voted = self.promises.rounds.get(&round).and_then(|given| given.voted);
        let has_voted = has_voted.filter(|voted| voted.token >= token);
        // One that is past the plan's step votes only for what may have been decided: that puts it out of lock-step.
        let is_past = apply_at < self.next && prepare.locked.is_none();
        let is_other = has_voted.is_some_and(|voted| (voted.token, voted.hash) != (token, hash));
        if is_past || is_other || !self.promises.allow(round) {
            return;
        }
        if has_voted.is_none() {
            self.promises.token = token;
            self.promises.rounds.entry(round).or_default().voted = Some(Voted { token, hash, apply_at });
            self.left.remove(&round);
            self.keep();
        }
        let vote = self.sign(Phase::Vote, round, token, hash);
        self.tell(holder, Message::Vote(vote));
        if let Some(open) = self.open.get_mut(&round) {
            open.votes.count(vote);
        }
    }

    /// Sends a vote to those who count.
    fn tell(&mut self, holder: WorkerId, message: Message) {
        match self.settings.votes {
            Votes::ToAll => self.send(To::All, message),
            Votes::ToHolder => self.send(To::One(holder), message),
        }
    }

    pub(super) fn on_vote(&mut self, signed: Signed) {
        let Statement { round, token, hash, .. } = signed.statement;
        if let Some(open) = self.open.get_mut(&round) {
            open.votes.count(signed);
        }
        self.try_lock(round, token, hash);
    }

    /// Takes the proof that a quorum has voted.
    pub(super) fn on_lock(&mut self, proven: Proven) {
        let round = proven.certificate.round;
        if self.is_newer(round, proven.certificate.token) && self.is_proven(&proven.certificate) {
            if let Some(open) = self.open.get_mut(&round) {
                open.plans.insert(proven.certificate.hash, proven.plan);
            }
            self.lock(proven.certificate);
        }
    }

    /// Whether it has not accepted anything under this token or a higher one.
    fn is_newer(&self, round: Round, token: u64) -> bool {
        let lock = self.promises.rounds.get(&round).and_then(|given| given.lock.as_ref());
        lock.is_none_or(|lock| lock.certificate.token < token)
    }

    fn try_lock(&mut self, round: Round, token: u64, hash: Hash) {
        let Some(open) = self.open.get(&round).filter(|open| open.plans.contains_key(&hash)) else { return };
        if !self.is_newer(round, token) {
            return;
        }
        if let Some(certificate) = open.votes.certificate(Phase::Vote, round, token, hash, self.membership.quorum()) {
            self.lock(certificate);
        }
    }

    /// Accepts a plan for which a quorum has voted.
    fn lock(&mut self, certificate: Certificate) {
        let Certificate { round, token, hash, .. } = certificate;
        let Some(plan) = self.open.get(&round).and_then(|open| open.plans.get(&hash)).cloned() else { return };
        let voted = self.promises.rounds.get(&round).and_then(|given| given.voted);
        let is_mine = voted.is_some_and(|voted| (voted.token, voted.hash) == (token, hash));
        let is_in_time = plan.apply_at >= self.next || is_mine;
        if token < self.promises.token
            || !is_in_time
            || !self.promises.allow(round)
            || plan.previous != self.promises.known
        {
            return;
        }
        let proven = Proven { plan, certificate };
        self.promises.token = token;
        self.promises.rounds.entry(round).or_default().lock = Some(proven.clone());
        self.keep();
        if self.counts_for_all(token) {
            self.send(To::All, Message::Lock(Box::new(proven)));
        }
        let accept = self.sign(Phase::Accept, round, token, hash);
        let holder = self.lease.filter(|lease| lease.token == token).map(|lease| lease.holder);
        match holder {
            Some(holder) => self.tell(holder, Message::Accept(accept)),
            None => self.send(To::All, Message::Accept(accept)),
        }
        if let Some(open) = self.open.get_mut(&round) {
            open.accepts.count(accept);
        }
        self.try_decide(round, token, hash);
    }

    pub(super) fn on_accept(&mut self, signed: Signed) {
        let Statement { round, token, hash, .. } = signed.statement;
        if let Some(open) = self.open.get_mut(&round) {
            open.accepts.count(signed);
        }
        self.try_decide(round, token, hash);
    }

    fn try_decide(&mut self, round: Round, token: u64, hash: Hash) {
        let Some(open) = self.open.get(&round) else { return };
        let Some(plan) = open.plans.get(&hash).cloned() else { return };
        let quorum = self.membership.quorum();
        let Some(certificate) = open.accepts.certificate(Phase::Accept, round, token, hash, quorum) else { return };
        let proven = Proven { plan, certificate };
        if self.counts_for_all(token) {
            self.send(To::All, Message::Commit(Box::new(proven.clone())));
        }
        self.learn(proven);
    }

    /// Whether the others wait for this worker to tell them what their votes prove.
    fn counts_for_all(&self, token: u64) -> bool {
        let is_holder = self.lease.is_some_and(|lease| (lease.token, lease.holder) == (token, self.me));
        is_holder && self.settings.votes == Votes::ToHolder
    }

    /// Whether a quorum has signed: what this worker has checked before is not checked again.
    pub(super) fn is_proven(&self, certificate: &Certificate) -> bool {
        let Certificate { phase, round, token, hash, .. } = *certificate;
        let known = certificate.signatures.iter().all(|(worker, signature)| {
            let statement = Statement { phase, round, token, hash, worker: *worker };
            self.watch.knows(&Signed { statement, signature: *signature })
        });
        let ascending = certificate.signatures.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let is_enough = ascending && certificate.signatures.len() >= self.membership.quorum();
        is_enough && (known || certificate.is_genuine(&self.membership))
    }

    /// Makes a decision durable.
    pub(super) fn keep_decision(&mut self, proven: &Proven) {
        let round = proven.certificate.round;
        let bytes = Message::Commit(Box::new(proven.clone())).encode(&self.membership);
        self.emit(Output::Keep(Kept::Decision { round, bytes }));
    }
}
