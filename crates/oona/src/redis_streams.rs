//! A bus over Redis Streams.

mod backlog;
mod claims;
mod commands;
mod consumer;
mod inbox;
mod lanes;
mod link;
mod publisher;
mod queue;
mod reply;
mod seen;
mod settings;

use std::{fmt, sync::Arc, thread::JoinHandle, time::Duration};

use kasmina_safety::Clock;

pub use settings::RedisSettings;

use self::{consumer::Consumer, publisher::Publisher};
use crate::{
    Bus, BusError, Delivery, DeliveryId, EntryKeys, Health, Message, Refused, SettingsError, Status, Subscription,
    Ticket, Unflushed,
};

/// A bus over Redis Streams, of one publisher and at most one subscriber.
///
/// Two threads own a connection each: one writes, the other reads and acknowledges. The methods only exchange values
/// with them, through queues that are bounded; dropping the bus stops and joins them, which takes as long as an
/// exchange with the server may. A connection that broke or timed out is thrown away, with what may still come over it,
/// and made anew after a back-off.
///
/// After a restart under the same consumer name, what the process before had in its hands comes again once it has been
/// idle for `claim_after`, as it would come to any other consumer of the group; so each delivery is counted.
///
/// What may happen twice: an entry whose answer was lost is sent again. It has the same `message_id`, by which a
/// subscriber knows it; the last 8,192 are remembered. What may be lost: nothing that [`Status::stored_through`]
/// covers, if the server keeps what it has stored (`appendonly yes`, `appendfsync always`); and what the stream's
/// capacity trims away before a group has read it.
///
/// An entry's time of storage is in its id, which never goes back: if the server's clock is set back by more than a
/// minute, new entries count as stale, and go to the dead letters, until that clock has caught up.
///
/// A payload is checked against the limit when it has been read: a server lets anybody who may write store up to 512 MB
/// in one entry, so limit `proto-max-bulk-len` there if strangers may write.
pub struct RedisBus {
    publisher: Arc<Publisher>,
    consumer: Option<Arc<Consumer>>,
    clock: Arc<dyn Clock>,
    threads: Vec<JoinHandle<()>>,
}

impl RedisBus {
    /// Starts the threads; they connect on their own, and go on trying.
    ///
    /// # Errors
    /// [`SettingsError`]. A server that cannot be reached is not an error; see [`Bus::status`].
    pub fn start(
        settings: RedisSettings,
        keys: EntryKeys,
        subscription: Option<Subscription>,
        clock: impl Clock + 'static,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        if let Some(subscription) = &subscription {
            subscription.check()?;
        }
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let settings = Arc::new(settings);
        let publisher = Arc::new(Publisher::new(Arc::clone(&settings), keys.clone(), Arc::clone(&clock)));
        let consumer = subscription
            .map(|subscription| Arc::new(Consumer::new(Arc::clone(&settings), keys, subscription, Arc::clone(&clock))));
        let mut bus = Self { publisher, consumer, clock, threads: Vec::new() };
        // Each thread's connection is made here, so that an address that cannot be read is an error at once.
        let link = settings.link(0)?;
        let publishing = Arc::clone(&bus.publisher);
        bus.thread("oona-publish", move || publishing.run(link))?;
        if let Some(consumer) = bus.consumer.clone() {
            let link = settings.link(1)?;
            bus.thread("oona-consume", move || consumer.run(link))?;
        }
        Ok(bus)
    }

    fn thread(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), SettingsError> {
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        self.threads.push(started.map_err(|error| SettingsError::Thread { detail: error.to_string() })?);
        Ok(())
    }

    fn consumer(&self) -> Result<&Consumer, BusError> {
        self.consumer.as_deref().ok_or(BusError::NotSubscribed)
    }
}

impl Bus for RedisBus {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        self.publisher.publish(message)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        Ok(self.consumer()?.poll(most))
    }

    fn wait(&self, at_most: Duration) -> bool {
        self.consumer.as_ref().is_some_and(|consumer| consumer.wait(at_most))
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        self.consumer()?.acknowledge(id)
    }

    fn flush(&self, within: Duration) -> Result<(), Unflushed> {
        let began = self.clock.monotonic();
        let messages = self.publisher.flush(within);
        let left = within.saturating_sub(self.clock.monotonic().since(began));
        let acknowledgements = self.consumer.as_ref().map_or(0, |consumer| consumer.flush(left));
        if messages == 0 && acknowledgements == 0 {
            return Ok(());
        }
        Err(Unflushed { messages, acknowledgements, health: self.status().health })
    }

    fn status(&self) -> Status {
        let mut status = self.publisher.status();
        if let Some(consumer) = &self.consumer {
            let (health, refusing, dead_letters, counts) = consumer.state();
            status.dead_letters_refused = dead_letters;
            status.health = worse(status.health, health);
            status.refusing.extend(refusing);
            status.counts = status.counts.and(counts);
        }
        status
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.publisher.stop();
        if let Some(consumer) = &self.consumer {
            consumer.stop();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on standard error, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn worse(one: Health, other: Health) -> Health {
    let rank = |health: &Health| match health {
        Health::Connected => 0,
        Health::Stalled { .. } => 1,
        Health::Down { .. } => 2,
    };
    if rank(&other) > rank(&one) { other } else { one }
}
