//! The trainer's side: commands come in, and are acknowledged once they are answered.

use std::{fmt, time::Duration};

use kasmina_leyline::{TrainingRunId, v1::BusMessageType};
use kasmina_oona::{Bus, BusError, BusSettings, Delivery, DeliveryId, Stream, Subscription};

/// The commands that the bus has for a run.
///
/// A command is acknowledged after it was answered, so after the journal has it; one that a process took and did not
/// answer comes again. So each is handed over at least once, and its nonce makes it carried out at most once: if it was
/// answered before a crash, it is rejected as `nonce_replayed` when it comes again.
///
/// The keys of the bus say who may write to its streams. Who may command is what a command's own signature says, and
/// whoever is handed the bytes checks that.
pub struct Inbox {
    bus: Box<dyn Bus>,
}

/// What came of one [`Inbox::serve`].
#[derive(Clone, Debug, PartialEq)]
#[must_use = "the answers say which commands were refused"]
pub struct Served<A> {
    /// The answers, in the order in which the commands came.
    pub answers: Vec<A>,
    /// Commands that were not acknowledged, because their answer is not final or there is none. They come again.
    pub kept: usize,
    /// Messages that are not commands. They are acknowledged.
    pub ignored: usize,
    /// Acknowledgements that the bus did not take. What they are of comes again.
    pub unacknowledged: usize,
}

impl Inbox {
    /// Commands that are taken at once. Our choice: they share one sync of the journal, which costs more than deciding
    /// some hundred of them.
    pub const BATCH: usize = 64;

    /// After how long a command comes again that was taken and not answered, if the bus has these
    /// [`settings`](Self::settings). Our choice: a trainer that was killed and is back within half a minute gets its
    /// commands while they are fresh, which they are for 60 s. Answering a batch takes far less. It is the least that
    /// goes with how often a bus over Redis looks for such entries by default.
    pub const CLAIM_AFTER: Duration = Duration::from_secs(15);

    /// What a run subscribes to. `consumer` is this process's own name: consumers of one run share its commands, each
    /// of which goes to one of them.
    pub fn subscription(run: &TrainingRunId, consumer: &str) -> Subscription {
        Subscription::new(format!("commands-{run}"), consumer, [Stream::Emergency, Stream::Normal])
    }

    /// The settings of a bus that commands are taken from: those of the contract would bring back what a dead process
    /// had taken after 60 s, when every command is stale.
    #[must_use]
    pub fn settings(settings: BusSettings) -> BusSettings {
        BusSettings { claim_after: settings.claim_after.min(Self::CLAIM_AFTER), ..settings }
    }

    /// Takes commands from `bus`, which has to have the [`subscription`](Self::subscription) of this run.
    #[must_use]
    pub fn new(bus: impl Bus + 'static) -> Self {
        Self { bus: Box::new(bus) }
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// Hands the commands that have arrived to `submit`, at most [`BATCH`](Self::BATCH), and acknowledges each whose
    /// answer is final. `submit` is called if there is one, gets their bytes in the order in which they came, CRITICAL
    /// first, and returns one answer for each, in that order. It is not called without a command. Returns at once if
    /// nothing has arrived.
    ///
    /// An answer is final if asking the same process again could not change it, and the next process knows it:
    /// accepted, refused or rejected, but not `not_durable`. A command that is answered `not_durable` stays on the bus. The same
    /// process rejects it as `nonce_replayed` when it comes again; one that has taken its place with a store that works
    /// carries it out, if it is still fresh.
    ///
    /// ```text
    /// inbox.serve(|wires| manager.submit_all(wires), CommandError::is_final)
    /// ```
    ///
    /// # Errors
    /// [`BusError`] if the bus cannot be polled.
    pub fn serve<A>(
        &mut self,
        submit: impl FnOnce(Vec<&[u8]>) -> Vec<A>,
        is_final: impl Fn(&A) -> bool,
    ) -> Result<Served<A>, BusError> {
        let arrived = self.bus.poll(Self::BATCH)?;
        let is_command = |delivery: &Delivery| delivery.message_type == BusMessageType::AdaptationCommand;
        let (commands, others): (Vec<_>, Vec<_>) = arrived.into_iter().partition(is_command);
        let mut served = Served { answers: Vec::new(), kept: 0, ignored: others.len(), unacknowledged: 0 };
        others.iter().for_each(|other| self.acknowledge(other.id, &mut served));
        if commands.is_empty() {
            return Ok(served);
        }
        served.answers = submit(commands.iter().map(|command| command.envelope.payload.as_slice()).collect());
        let answered = commands.iter().zip(&served.answers).filter(|(_, answer)| is_final(answer));
        let done: Vec<DeliveryId> = answered.map(|(command, _)| command.id).collect();
        served.kept = commands.len() - done.len();
        done.into_iter().for_each(|id| self.acknowledge(id, &mut served));
        Ok(served)
    }

    fn acknowledge<A>(&self, id: DeliveryId, served: &mut Served<A>) {
        served.unacknowledged += usize::from(self.bus.acknowledge(id).is_err());
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("status", &self.bus.status()).finish_non_exhaustive()
    }
}
