//! A message has come.

use std::collections::BTreeMap;

use kasmina_leyline::Monotonic;

use super::{Worker, arrival::OPEN_ROUNDS};
use crate::{Event, Message, Phase, Proposal, Report, Round, Signed, Statement, To, Unfounded, Unreadable, WorkerId};

/// A message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It is not a message of this group.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The worker that it names has not signed it.
    #[error("{claimed} has not signed this {message}")]
    Forged {
        /// The worker that it names.
        claimed: WorkerId,
        /// The kind of message.
        message: &'static str,
    },
}

/// Messages about a round that this worker has not come to: the last of each kind from each worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Early(BTreeMap<(WorkerId, &'static str), Message>);

impl Early {
    fn hold(&mut self, worker: WorkerId, message: Message) {
        self.0.insert((worker, message.name()), message);
    }

    /// Takes those of this round, and forgets those before it.
    pub(super) fn take(&mut self, round: Round) -> Vec<Message> {
        let (now, later) = std::mem::take(&mut self.0).into_iter().partition(|(_, it)| it.round() <= round);
        self.0 = later;
        let mut now: Vec<_> = BTreeMap::into_values(now).filter(|it| it.round() == round).collect();
        // Plans first, then votes.
        now.sort_by_key(|it| it.signed().map(|it| it.statement.phase));
        now
    }
}

impl Worker {
    /// Takes the bytes of a message, from whomever.
    ///
    /// # Errors
    /// [`Rejected`]; nothing has changed, but for an event.
    pub fn receive(&mut self, bytes: &[u8], now: Monotonic) -> Result<(), Rejected> {
        let message = Message::decode(bytes, &self.membership, &self.settings.limits)?;
        if message.sender() == Some(self.me) {
            return Ok(());
        }
        let Some(signed) = message.signed().copied() else {
            self.handle(message, now);
            return Ok(());
        };
        if !self.is_genuine(&signed) {
            let (claimed, message) = (signed.statement.worker, message.name());
            self.event(Event::Forged { claimed, message });
            return Err(Rejected::Forged { claimed, message });
        }
        // Before it is looked at whether it is still of use.
        self.hear(&signed);
        self.handle(message, now);
        Ok(())
    }

    pub(super) fn is_genuine(&self, signed: &Signed) -> bool {
        self.watch.knows(signed) || signed.is_genuine(&self.membership)
    }

    pub(super) fn hear(&mut self, signed: &Signed) {
        if let Some(evidence) = self.watch.hear(signed) {
            self.event(Event::Equivocation(Box::new(evidence)));
        }
    }

    /// Takes a message whose own signature is genuine.
    pub(super) fn handle(&mut self, message: Message, now: Monotonic) {
        if let Some(signed) = message.signed() {
            let Statement { worker, round, .. } = signed.statement;
            self.note_place(worker, round);
            self.reopen(round, now);
        }
        if let Message::Query(signed) = message {
            self.answer(signed.statement.worker, signed.statement.round, now);
            return;
        }
        if let Message::Commit(proven) = message {
            let is_news = !self.decisions.contains_key(&proven.certificate.round);
            let is_old = self.decisions.keys().next().is_some_and(|first| proven.certificate.round < *first);
            let is_news = is_news && !(is_old && self.decisions.len() >= self.settings.decisions);
            if is_news && self.is_proven(&proven.certificate) && proven.certificate.hash == proven.plan.hash() {
                self.learn(*proven);
            } else if !is_news {
                self.compare(&proven);
            }
            return;
        }
        if self.is_lost() {
            return;
        }
        let (round, sender) = (message.round(), message.sender());
        if !self.open.contains_key(&round) {
            let is_after = |known: Option<Round>| known.is_none_or(|known| round > known);
            let is_ahead = is_after(self.came) && is_after(self.promises.newest);
            match (&message, sender) {
                (_, Some(sender)) if is_ahead => self.early.hold(sender, message),
                (Message::Propose(_), Some(sender)) => self.answer(sender, round, now),
                (_, Some(_) | None) => {}
            }
            return;
        }
        match message {
            Message::Propose(proposal) => self.on_proposal(*proposal, now),
            Message::Prepare(prepare) => self.on_prepare(&prepare),
            Message::Vote(signed) => self.on_vote(signed),
            Message::Lock(proven) => self.on_lock(*proven),
            Message::Accept(signed) => self.on_accept(signed),
            Message::Commit(_) | Message::Query(_) => {}
        }
    }

    /// Takes part in a round that the replica was restored behind, and in which this worker has signed nothing: others may
    /// need it to bring the round to an end.
    fn reopen(&mut self, round: Round, now: Monotonic) {
        let is_undecided = self.ledger.tip().is_none_or(|(tip, _)| tip < round) && round.era == self.ledger.era();
        let is_barrier = round.step < self.next && round.step.is_multiple_of(self.settings.every);
        if is_undecided && self.promises.is_new(round) && is_barrier && !self.is_lost() && self.open.len() < OPEN_ROUNDS
        {
            self.promises.newest = self.promises.newest.max(Some(round));
            self.promises.rounds.entry(round).or_default();
            self.open.entry(round).or_default().report = Some(Report::absent());
            self.promise(round, now);
        }
    }

    fn on_proposal(&mut self, proposal: Proposal, now: Monotonic) {
        let sender = proposal.promise.worker();
        let statement = proposal.promise.signed.statement;
        let is_for_me = proposal.promise.promise.holder == self.me && self.token_held(now) == Some(statement.token);
        if !is_for_me {
            return;
        }
        if let Some(locked) = &proposal.locked {
            let fits = locked.certificate.token < statement.token && self.is_proven(&locked.certificate);
            if !fits {
                let round = statement.round;
                self.event(Event::Unjustified { round, worker: sender, cause: Unfounded::AcceptedUnproven });
                return;
            }
        }
        if self.open.get(&statement.round).is_some_and(|open| open.is_prepared(statement.token)) {
            self.answer(sender, statement.round, now);
        } else {
            self.take_proposal(proposal, now);
        }
    }

    /// Tells a worker what it may not know about a round.
    fn answer(&mut self, worker: WorkerId, round: Round, now: Monotonic) {
        if worker == self.me {
            return;
        }
        let to = To::One(worker);
        let decided = self.decisions.get(&round);
        // A worker of an earlier era has missed the decision to go back, which was that era's last.
        let gone_back = || self.decisions.range(..=round).next_back().map(|(_, proven)| proven);
        let is_behind = round.era < self.ledger.era();
        // What comes after it shows what was decided before.
        let later = || self.decisions.range(round..).next().map(|(_, proven)| proven);
        if let Some(proven) = decided.or_else(|| if is_behind { gone_back() } else { later() }) {
            let message = Message::Commit(Box::new(proven.clone()));
            self.send(to, message);
            return;
        }
        let Some(open) = self.open.get(&round).filter(|_| !self.is_lost()) else { return };
        let held = self.token_held(now);
        let prepared = open.prepared.clone().filter(|it| held == Some(it.signed.statement.token));
        if let Some(prepare) = prepared {
            self.send(to, Message::Prepare(Box::new(prepare)));
        }
        let Some(given) = self.promises.rounds.get(&round) else { return };
        let token = self.promises.token;
        match (given.lock.clone(), given.voted) {
            (Some(lock), _) if lock.certificate.token == token => {
                let accept = self.sign(Phase::Accept, round, token, lock.certificate.hash);
                self.send(to, Message::Lock(Box::new(lock)));
                self.send(to, Message::Accept(accept));
            }
            (_, Some(voted)) if voted.token == token => {
                let vote = self.sign(Phase::Vote, round, token, voted.hash);
                self.send(to, Message::Vote(vote));
            }
            (Some(_) | None, Some(_) | None) => {}
        }
    }
}
