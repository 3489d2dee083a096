//! A worker that lies: it signs whatever it likes with its own key, and cannot sign for others.

use std::{collections::BTreeMap, sync::Arc};

use fastrand::Rng;

use crate::{
    Membership, Message, Phase, Plan, Prepare, Proposal, SecretKey, Signed, SignedPromise, Statement, To, WorkerId,
};

/// What a liar does, of 100 times that it could.
#[derive(Clone, Debug)]
pub(super) struct Liar {
    two_proposals: u8,
    hides_locks: u8,
    two_plans: u8,
    votes_for_all: u8,
    silent: u8,
    forges: u8,
    ignores_locks: u8,
    /// Plans that it has seen, by their hash.
    plans: BTreeMap<[u8; 32], Plan>,
}

impl Liar {
    pub(super) fn drawn(random: &mut Rng) -> Self {
        let mut often = || if random.bool() { random.u8(0..100) } else { 0 };
        Self {
            two_proposals: often(),
            hides_locks: often(),
            two_plans: often(),
            votes_for_all: often(),
            silent: often() / 2,
            forges: often() / 4,
            ignores_locks: often(),
            plans: BTreeMap::new(),
        }
    }

    /// What it makes of something that its worker says.
    pub(super) fn say(
        &mut self,
        to: To,
        message: &Message,
        me: WorkerId,
        key: &SecretKey,
        members: &Membership,
        random: &mut Rng,
    ) -> Vec<(To, Message)> {
        let mut chance = |percent: u8| random.u8(0..100) < percent;
        if chance(self.silent) {
            return Vec::new();
        }
        let sign = |phase: Phase, like: &Statement, hash: [u8; 32]| {
            Signed::new(Statement { phase, hash, worker: me, ..*like }, members, key)
        };
        match message {
            Message::Propose(proposal) => {
                let mut said = vec![(to, message.clone())];
                let statement = proposal.promise.signed.statement;
                if proposal.locked.is_some() && chance(self.hides_locks) {
                    let mut promise = proposal.promise.promise.clone();
                    promise.locked = None;
                    let signed = sign(Phase::Propose, &statement, promise.hash());
                    let promise = SignedPromise { promise, signed };
                    let hidden = Proposal { promise, report: proposal.report.clone(), locked: None };
                    said = vec![(to, Message::Propose(Box::new(hidden)))];
                }
                if chance(self.two_proposals) {
                    let mut other = (**proposal).clone();
                    other.report.pending.pop();
                    other.report.digest.state[0] ^= 1;
                    other.report.at = other.report.at.after(std::time::Duration::from_secs(3));
                    other.promise.promise.at = other.report.at;
                    other.promise.promise.report = other.report.hash();
                    other.promise.signed = sign(Phase::Propose, &statement, other.promise.promise.hash());
                    said.push((to, Message::Propose(Box::new(other))));
                }
                said
            }
            Message::Prepare(prepare) if chance(self.two_plans) => {
                let other = self.other_plan(prepare);
                let Some(other) = other else { return vec![(to, message.clone())] };
                let signed = sign(Phase::Prepare, &prepare.signed.statement, other.hash());
                let locked = prepare.locked.clone();
                let other = Prepare { signed, plan: other, promises: prepare.promises.clone(), locked };
                let other = Message::Prepare(Box::new(other));
                let half = members
                    .ids()
                    .map(|worker| (To::One(worker), if random.bool() { other.clone() } else { message.clone() }));
                half.collect()
            }
            Message::Vote(signed) | Message::Accept(signed) if chance(self.votes_for_all) => {
                let statement = signed.statement;
                let mut said = vec![(to, message.clone())];
                for hash in self.plans.keys() {
                    said.push((To::All, Message::Vote(sign(Phase::Vote, &statement, *hash))));
                    said.push((To::All, Message::Accept(sign(Phase::Accept, &statement, *hash))));
                }
                said
            }
            Message::Prepare(_)
            | Message::Vote(_)
            | Message::Lock(_)
            | Message::Accept(_)
            | Message::Commit(_)
            | Message::Query(_) => vec![(to, message.clone())],
        }
    }

    /// Another plan that follows from the same promises.
    fn other_plan(&self, prepare: &Prepare) -> Option<Plan> {
        if prepare.locked.is_some() {
            return self.plans.values().find(|plan| **plan != prepare.plan).cloned();
        }
        let mut other = prepare.plan.clone();
        other.orders.pop()?;
        other.rollback = None;
        Some(other)
    }

    /// What it says when it hears something.
    pub(super) fn react(
        &mut self,
        heard: &Message,
        me: WorkerId,
        key: &SecretKey,
        members: &Membership,
        random: &mut Rng,
    ) -> Vec<(To, Message)> {
        let mut chance = |percent: u8| random.u8(0..100) < percent;
        let mut said = Vec::new();
        if let Message::Prepare(prepare) = heard {
            if self.plans.len() < 8 {
                self.plans.insert(prepare.plan.hash(), prepare.plan.clone());
            }
            let statement = prepare.signed.statement;
            if chance(self.votes_for_all) {
                for phase in [Phase::Vote, Phase::Accept] {
                    let signed = Signed::new(Statement { phase, worker: me, ..statement }, members, key);
                    let message = if phase == Phase::Vote { Message::Vote(signed) } else { Message::Accept(signed) };
                    said.push((To::All, message));
                }
            }
            if chance(self.ignores_locks) && prepare.locked.is_some() {
                // As the holder of a later token, with the promises of an earlier one.
                let mut other = prepare.plan.clone();
                other.orders.clear();
                let statement = Statement { worker: me, hash: other.hash(), token: statement.token + 1, ..statement };
                let signed = Signed::new(statement, members, key);
                let promises = prepare.promises.clone();
                said.push((
                    To::All,
                    Message::Prepare(Box::new(Prepare { signed, plan: other, promises, locked: None })),
                ));
            }
        }
        if let Message::Vote(signed) = heard
            && chance(self.forges)
        {
            let statement = Statement { phase: Phase::Accept, ..signed.statement };
            let signed = Signed { statement, signature: Signed::new(statement, members, key).signature };
            said.push((To::All, Message::Accept(signed)));
        }
        said
    }
}

/// Old messages of everybody, which a liar sends again.
#[derive(Debug, Default)]
pub(super) struct Archive(Vec<Arc<[u8]>>);

impl Archive {
    pub(super) fn note(&mut self, bytes: &Arc<[u8]>, random: &mut Rng) {
        if self.0.len() < 64 {
            self.0.push(Arc::clone(bytes));
        } else if random.u8(0..8) == 0 {
            let place = random.usize(0..64);
            self.0[place] = Arc::clone(bytes);
        }
    }

    pub(super) fn replay(&self, random: &mut Rng) -> Option<Arc<[u8]>> {
        let replays = random.u8(0..20) == 0 && !self.0.is_empty();
        replays.then(|| Arc::clone(&self.0[random.usize(0..self.0.len())]))
    }
}
