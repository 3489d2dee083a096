//! Orders as they come: from the wire, and from the process that owns the manager.

use std::sync::Arc;

use kasmina_blending::GraftBackend;
use kasmina_engine::{Input, commands::Order};
use kasmina_leyline::{CommandId, UnixTime, v1::AdaptationCommand};
use kasmina_lifecycle::Transition;
use kasmina_rollback::Entry;
use kasmina_security::{Verified, VerifiedBytes};

use super::door::Batch;
use crate::{
    error::{CheckpointError, CommandError, Refusal},
    events,
    manager::SeedManager,
};

/// What a command that was carried out has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The command.
    pub command: CommandId,
    /// The moves that were made, with those that time has made since the last step or command. A command may also take effect in
    /// later steps.
    pub transitions: Vec<Transition>,
}

/// A verified command with what was decided about it.
struct Decided {
    id: CommandId,
    issued_at: UnixTime,
    command: Arc<AdaptationCommand>,
    answer: Result<(), Refusal>,
    /// The decisions of the batch that are this command's.
    decisions: std::ops::Range<usize>,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Takes one serialised `AdaptationCommand`, verifies it and carries it out. What it did is durable when this returns.
    ///
    /// # Errors
    /// [`CommandError::Rejected`] if it is not authentic, fresh and new; [`CommandError::Refused`] if it cannot be carried out, or
    /// cannot be made durable ([`Refusal::NotDurable`]: then nothing has happened). Both are reported, and neither disturbs the
    /// host. A gate that refuses culls its seed.
    pub fn submit(&mut self, wire: &[u8]) -> Result<Receipt, CommandError> {
        self.act(Input::Tick);
        let verified = match self.verify(wire) {
            Ok(verified) => verified,
            Err(rejection) => {
                self.write_owed_unless_failing();
                return Err(rejection);
            }
        };
        let mut batch = Batch::patient(self.patience());
        let decided = self.decide_command(wire, verified, &mut batch);
        let moves = batch.transitions(decided.decisions.clone());
        let concluded = self.conclude(batch);
        let earlier = self.moved_before(moves.len(), &concluded);
        self.answer(decided, earlier.into_iter().chain(moves).collect(), &concluded)
    }

    /// Takes several commands, in their order, and makes them durable together: one sync for all, where [`submit`](Self::submit)
    /// needs one for each.
    ///
    /// # Errors
    /// Each has an answer of its own, as from [`submit`](Self::submit). If they cannot be made durable, none has happened.
    pub fn submit_all<'w>(&mut self, wires: impl IntoIterator<Item = &'w [u8]>) -> Vec<Result<Receipt, CommandError>> {
        self.act(Input::Tick);
        let verified: Vec<_> = wires.into_iter().map(|wire| (wire, self.verify(wire))).collect();
        if verified.iter().all(|(_, verified)| verified.is_err()) {
            self.write_owed_unless_failing();
            return verified.into_iter().filter_map(|(_, verified)| verified.err()).map(Err).collect();
        }
        let mut batch = Batch::patient(self.patience());
        let decided: Vec<Result<Decided, CommandError>> =
            verified.into_iter().map(|(wire, verified)| Ok(self.decide_command(wire, verified?, &mut batch))).collect();
        let moves: Vec<Vec<Transition>> = decided
            .iter()
            .map(|decided| decided.as_ref().map_or_else(|_| Vec::new(), |it| batch.transitions(it.decisions.clone())))
            .collect();
        let concluded = self.conclude(batch);
        // What time has moved goes with the first answer.
        let mut earlier = self.moved_before(moves.iter().map(Vec::len).sum(), &concluded);
        let answers = decided.into_iter().zip(moves).map(|(decided, moves)| {
            let decided = decided?;
            self.answer(decided, earlier.drain(..).chain(moves).collect(), &concluded)
        });
        answers.collect()
    }

    /// Carries out an order of the process that owns the manager. It needs no signature: owning the manager is the authority. It
    /// passes the same gates as a command and is written to the same journal. Returns the moves that were made.
    ///
    /// # Errors
    /// As a command is refused: [`Refusal`].
    pub fn order(&mut self, order: Order) -> Result<Vec<Transition>, Refusal> {
        self.act(Input::Tick);
        let mut batch = Batch::patient(self.patience());
        let answer = self.decide_order(order, &mut batch);
        self.conclude(batch)?;
        answer.map(|()| self.take_moved())
    }

    /// Asks the verifier. Nothing is touched for a command that it does not vouch for.
    fn verify(&mut self, wire: &[u8]) -> Result<Verified, CommandError> {
        let (unix, now) = (self.group.unix(), self.now());
        let verified = self.verifier.verify(wire, unix, now).and_then(VerifiedBytes::decode);
        verified.map_err(|rejection| {
            self.reporter.rejected(rejection.reason(), rejection.command_id());
            CommandError::Rejected(rejection)
        })
    }

    /// Decides a command, once: its nonce is remembered whatever the answer is.
    fn decide_command(&mut self, wire: &[u8], verified: Verified, batch: &mut Batch) -> Decided {
        let (id, issued_at) = (verified.id().clone(), verified.issued_at());
        let read = kasmina_commands::read(&verified, &self.reading, self.group.unix());
        let command = Arc::new(verified.into_command());
        batch.entries.push(Entry::NonceSeen { command_id: id.clone(), issued_at });
        let from = batch.decisions();
        let answered = batch.entries.len();
        let answer = match read {
            Ok(read) => {
                let (about, notices) = (Arc::clone(&command), read.notices.clone());
                batch.note(move |to| events::noticed(to, &about, &notices));
                let answer = self.decide(Input::Command(id.clone(), read.order.clone()), batch);
                if answer.is_ok() {
                    let about = Arc::clone(&command);
                    batch.note(move |to| events::accepted(to, &about, &read));
                }
                answer
            }
            Err(unreadable) => {
                let (about, notices) = (Arc::clone(&command), unreadable.notices.clone());
                batch.note(move |to| events::noticed(to, &about, &notices));
                Err(Refusal::Unreadable(unreadable))
            }
        };
        let entry = match &answer {
            Ok(()) => Entry::Accepted { command_id: id.clone(), wire: wire.to_vec() },
            Err(refusal) => {
                let (about, refused) = (Arc::clone(&command), refusal.summary());
                batch.note(move |to| events::refused(to, &about, &refused));
                Entry::Refused { command_id: id.to_string(), reason: refusal.reason().to_owned() }
            }
        };
        // The answer comes before the moves that it explains.
        batch.entries.insert(answered, entry);
        Decided { id, issued_at, command, answer, decisions: from..batch.decisions() }
    }

    /// Decides a local order and writes it down.
    pub(super) fn decide_order(&mut self, order: Order, batch: &mut Batch) -> Result<(), Refusal> {
        let ordered = crate::records::encode(&order)?;
        let place = batch.entries.len();
        let answer = self.decide(Input::Order(order), batch);
        if answer.is_ok() || batch.entries.len() > place {
            batch.entries.insert(place, Entry::Ordered { description: ordered });
        }
        answer
    }

    /// What is answered once the batch has been concluded.
    fn answer(
        &mut self,
        Decided { id: command, issued_at, command: wire, answer, .. }: Decided,
        transitions: Vec<Transition>,
        concluded: &Result<(), CheckpointError>,
    ) -> Result<Receipt, CommandError> {
        let (refusal, transitions) = match (concluded, answer) {
            (Ok(()), Ok(())) => return Ok(Receipt { command, transitions }),
            (Ok(()), Err(refusal)) => (refusal, transitions),
            (Err(error), _) => {
                let refusal = Refusal::NotDurable(Box::new(error.clone()));
                self.reporter.write(|to| events::refused(to, &wire, &refusal.summary()));
                self.durable.iter_mut().for_each(|durable| durable.owe_answer(&command, issued_at));
                (refusal, Vec::new())
            }
        };
        Err(CommandError::Refused { command, refusal: Box::new(refusal), transitions })
    }

    /// Takes the moves that are durable, but for the `newest`, which the caller has. None if nothing became durable.
    fn moved_before(&mut self, newest: usize, concluded: &Result<(), CheckpointError>) -> Vec<Transition> {
        if concluded.is_err() {
            return Vec::new();
        }
        let mut moved = self.take_moved();
        moved.truncate(moved.len().saturating_sub(newest));
        moved
    }
}
