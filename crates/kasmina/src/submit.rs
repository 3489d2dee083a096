//! Commands as they come: verified, carried out, made durable, and only then answered.

use kasmina_commands::{Degraded, Notice, Order, read};
use kasmina_leyline::CommandId;
use kasmina_lifecycle::Transition;
use kasmina_rollback::Entry;
use kasmina_security::Verified;

use crate::{CheckpointError, CommandError, GraftBackend, Refusal, SeedManager, state::UndoPoint};

/// What a command that was carried out has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The command.
    pub command: CommandId,
    /// The moves that were made, with those that time has made since the last step or command. A command may also take
    /// effect in later steps.
    pub transitions: Vec<Transition>,
}

/// Commands that are made durable together.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    /// How many of the moves that were not journaled are in `entries`.
    journaled: usize,
    /// Whether there is more to remember than that commands came.
    changed: bool,
}

/// A command that the verifier has vouched for.
struct Authentic<'w> {
    verified: Verified,
    wire: &'w [u8],
}

type Outcome = Result<Receipt, CommandError>;

impl<B: GraftBackend> SeedManager<B> {
    /// Takes one serialised `AdaptationCommand`, verifies it and carries it out. What it did is durable when this returns.
    ///
    /// # Errors
    /// [`CommandError::Rejected`] where it is not authentic, fresh and new; [`CommandError::Refused`] where it cannot be
    /// carried out, or cannot be made durable ([`Refusal::NotDurable`]: then nothing has happened). Both are reported, and
    /// neither disturbs the host. A gate that says no culls its seed.
    pub fn submit(&mut self, wire: &[u8]) -> Result<Receipt, CommandError> {
        self.do_what_is_due();
        let authentic = match self.authenticate(wire) {
            Ok(authentic) => authentic,
            Err(rejection) => {
                self.commit_unless_failing();
                return Err(rejection);
            }
        };
        let (before, mut batch) = (self.undo_point(), Batch::default());
        let outcome = self.answer(&authentic, &mut batch);
        match self.conclude(before, batch) {
            Ok(()) => outcome,
            Err(error) => self.take_back(&authentic, &error),
        }
    }

    /// Takes several commands, in their order, and makes them durable together: one sync for all, where
    /// [`submit`](Self::submit) needs one for each.
    ///
    /// # Errors
    /// Each has an answer of its own, as from [`submit`](Self::submit). Where they cannot be made durable, none has happened.
    pub fn submit_all<'w>(&mut self, wires: impl IntoIterator<Item = &'w [u8]>) -> Vec<Result<Receipt, CommandError>> {
        self.do_what_is_due();
        let verified: Vec<_> = wires.into_iter().map(|wire| self.authenticate(wire)).collect();
        if verified.iter().all(Result::is_err) {
            self.commit_unless_failing();
            return verified.into_iter().filter_map(Result::err).map(Err).collect();
        }
        let (before, mut batch) = (self.undo_point(), Batch::default());
        let mut answer = |authentic| {
            let outcome = self.answer(&authentic, &mut batch);
            (authentic, outcome)
        };
        let answered: Vec<_> = verified.into_iter().map(|verified| verified.map(&mut answer)).collect();
        let concluded = self.conclude(before, batch);
        let told = answered.into_iter().map(|answered| {
            let (authentic, outcome) = answered?;
            match &concluded {
                Ok(()) => outcome,
                Err(error) => self.take_back(&authentic, error),
            }
        });
        told.collect()
    }

    /// Asks the verifier. Nothing is touched for whoever it does not vouch for.
    fn authenticate<'w>(&mut self, wire: &'w [u8]) -> Result<Authentic<'w>, CommandError> {
        let now = self.clock.monotonic();
        match self.verifier.verify(wire, self.clock.unix(), now) {
            Ok(verified) => {
                self.last_verified = now;
                Ok(Authentic { verified, wire })
            }
            Err(rejection) => {
                self.reporter.rejected(&rejection);
                Err(CommandError::Rejected(rejection))
            }
        }
    }

    /// Carries a command out, once: it is not handed out to be carried out again.
    fn answer(&mut self, Authentic { verified, wire }: &Authentic<'_>, batch: &mut Batch) -> Outcome {
        let (id, command) = (verified.id(), verified.command());
        batch.entries.push(Entry::NonceSeen { command_id: id.clone(), issued_at: verified.issued_at() });
        let (context, notices, order) = match read(verified, &self.read_settings(), self.clock.unix()) {
            Ok(read) => (read.context, read.notices, Ok(read.order)),
            Err(mut unreadable) => {
                let notices = std::mem::take(&mut unreadable.notices);
                ((*unreadable.context).clone(), notices, Err(Refusal::from(unreadable)))
            }
        };
        let degraded: Vec<_> = notices.into_iter().map(degraded).collect();
        self.reporter.degraded(command, &degraded);
        let done = order.and_then(|order: Order| self.execute(order));
        batch.entries.push(match &done {
            Ok(()) => Entry::CommandAccepted { command_id: id.clone(), wire: wire.to_vec() },
            Err(refusal) => Entry::CommandRefused { command_id: id.to_string(), reason: refusal.reason().to_owned() },
        });
        let moves = self.entries_from(batch.journaled);
        batch.changed |= done.is_ok() || !moves.is_empty();
        batch.entries.extend(moves);
        let mut transitions = self.take_moved();
        transitions.extend(self.moves_from(batch.journaled));
        batch.journaled = self.unjournaled.len();
        match done {
            Ok(()) => {
                self.reporter.accepted(command, &context);
                Ok(Receipt { command: id.clone(), transitions })
            }
            Err(refusal) => {
                self.reporter.refused(command, &refusal);
                Err(CommandError::Refused { command: id.clone(), refusal: Box::new(refusal), transitions })
            }
        }
    }

    /// Makes durable what the commands did, or undoes it.
    fn conclude(&mut self, before: Option<UndoPoint<B>>, mut batch: Batch) -> Result<(), CheckpointError> {
        // What time has moved, where no command came that tells of it.
        let moves = self.entries_from(batch.journaled);
        batch.changed |= !moves.is_empty();
        batch.entries.extend(moves);
        match self.persist(batch.entries, batch.changed) {
            Ok(()) => {
                self.tell_from(batch.journaled);
                Ok(())
            }
            Err(error) => {
                self.undo(before);
                self.tell_failing(&error);
                Err(error)
            }
        }
    }

    /// What is answered in place of what cannot be made durable.
    fn take_back(&mut self, Authentic { verified, .. }: &Authentic<'_>, error: &CheckpointError) -> Outcome {
        let (id, command) = (verified.id(), verified.command());
        let refusal = Refusal::NotDurable(Box::new(error.clone()));
        self.reporter.refused(command, &refusal);
        Err(CommandError::Refused { command: id.clone(), refusal: Box::new(refusal), transitions: Vec::new() })
    }
}

/// A notice as the event that reports it.
fn degraded(notice: Notice) -> Degraded {
    match notice {
        Notice::Degraded(degraded) => degraded,
        Notice::BlendConflict(conflict) => conflict.into(),
    }
}
