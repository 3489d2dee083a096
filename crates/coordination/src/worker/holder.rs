//! What a worker does while it holds the lease.

use std::collections::BTreeMap;

use kasmina_leyline::Monotonic;

use super::{Stand, Worker};
use crate::{
    Event, Message, Order, Phase, Prepare, Proposal, Proven, Round, SignedPromise, To,
    judge::judge,
    justify::{first_rollback, fresh, is_attended},
    plan::sorted,
};

impl Worker {
    /// Takes a proposal that is for this worker under its token.
    pub(super) fn take_proposal(&mut self, proposal: Proposal, now: Monotonic) {
        let (round, token) = (proposal.promise.signed.statement.round, proposal.promise.signed.statement.token);
        let Some(open) = self.open.get_mut(&round) else { return };
        let held = open.proposals.entry(proposal.promise.worker()).or_insert_with(|| proposal.clone());
        if held.promise.signed.statement.token < token {
            *held = proposal;
        }
        self.steer(round, now);
    }

    pub(super) fn steer_all(&mut self, now: Monotonic) {
        let rounds: Vec<_> = self.open.keys().copied().collect();
        rounds.into_iter().for_each(|round| self.steer(round, now));
    }

    /// Makes the plan, once there are enough promises and all have come or the grace is over.
    fn steer(&mut self, round: Round, now: Monotonic) {
        let Some(token) = self.token_held(now).filter(|token| *token >= self.promises.token) else { return };
        let voted = self.promises.rounds.get(&round).map(|given| given.voted);
        let may = voted.is_some_and(|voted| voted.is_none_or(|voted| voted.token < token)) && !self.is_lost();
        let is_here = matches!(self.stand, Stand::AtBarrier { .. }) && self.came == Some(round);
        let (workers, quorum) = (self.membership.workers(), self.membership.quorum());
        let Some(open) = self.open.get_mut(&round).filter(|open| may && !open.is_prepared(token)) else { return };
        open.proposals.retain(|_, it| it.promise.signed.statement.token == token);
        let came = open.proposals.len();
        if came < quorum {
            open.quorum_at = None;
            return;
        }
        let quorum_at = *open.quorum_at.get_or_insert(now);
        let locks = open.proposals.values().filter_map(|it| it.locked.as_ref());
        let lock: Option<Proven> = locks.max_by_key(|lock| lock.certificate.token).cloned();
        let promises: Vec<SignedPromise> = open.proposals.values().map(|it| it.promise.clone()).collect();
        let (plan, locked) = if let Some(Proven { plan, certificate }) = lock {
            (plan, Some(certificate))
        } else {
            let pending = open.proposals.values().flat_map(|it| it.report.pending.iter());
            let orders: Vec<Order> = sorted(pending.filter(|it| self.ledger.admits(it)).cloned().collect());
            let (grace, patience) = (self.settings.grace, self.settings.rollback_prepare);
            let wait = if first_rollback(&orders).is_some() { grace.max(patience) } else { grace };
            if !is_here || !is_attended(&promises, &self.membership) || (came < workers && now < quorum_at.after(wait))
            {
                return;
            }
            (fresh(round, &promises, orders, &self.ledger, &self.membership, &self.settings), None)
        };
        let signed = self.sign(Phase::Prepare, round, token, plan.hash());
        let prepare = Prepare { signed, plan, promises, locked };
        if let Some(open) = self.open.get_mut(&round) {
            open.prepared = Some(prepare.clone());
        }
        self.tell_differences(round);
        self.send(To::All, Message::Prepare(Box::new(prepare.clone())));
        self.on_prepare(&prepare);
    }

    /// When the holder looks again, if nothing comes before.
    pub(super) fn steer_at(&self, now: Monotonic) -> Option<Monotonic> {
        let token = self.token_held(now)?;
        let waits = |open: &super::Open| {
            let quorum_at = open.quorum_at.filter(|_| !open.is_prepared(token))?;
            let looks = [quorum_at.after(self.settings.grace), quorum_at.after(self.settings.rollback_prepare)];
            looks.into_iter().find(|at| *at > now)
        };
        self.open.values().filter_map(waits).min()
    }

    /// Whether it holds a token under which a plan was prepared that nobody has brought to its end: under another one it
    /// can be proposed again.
    pub(super) fn is_stuck(&self, now: Monotonic) -> bool {
        self.token_held(now).is_some_and(|token| self.open.values().any(|open| open.is_prepared(token)))
    }

    fn tell_differences(&mut self, round: Round) {
        let Some(open) = self.open.get(&round) else { return };
        let there = open.proposals.iter().filter(|(_, it)| it.promise.promise.present);
        let reports: BTreeMap<_, _> = there.map(|(worker, it)| (*worker, &it.report)).collect();
        let mut events = judge(round, &reports, self.settings.sketch_tolerance);
        let is_late = |worker: &_| !reports.contains_key(worker);
        events.extend(self.membership.ids().filter(is_late).map(|worker| Event::Straggler { round, worker }));
        events.into_iter().for_each(|event| self.event(event));
    }
}
