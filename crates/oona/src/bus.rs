//! The trait, and its null object.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use kasmina_leyline::Monotonic;

use crate::{
    BrokerError, BusError, Counts, Delivery, DeliveryId, Health, Message, PublishError, Refused, Stream, Ticket,
    Unflushed,
};

/// Carries envelopes between subsystems, each at least once.
///
/// No call waits, but for [`flush`](Self::flush) and [`wait`](Self::wait). What is delivered comes again until it is acknowledged,
/// so that a handler has to bear to see a message twice. A bus that forgets a message costs a command; one that repeats
/// it after the acknowledgement costs a second execution, from which only the nonces of commands protect.
pub trait Bus: Send + Sync {
    /// Takes a message and returns at once. It is stored later; see [`Status::stored_through`].
    ///
    /// # Errors
    /// [`Refused`], with the message.
    fn publish(&self, message: Message) -> Result<Ticket, Refused>;

    /// What has arrived: at most `most` deliveries, CRITICAL first, then in the order of their streams. Empty if there
    /// is nothing, or if the server is away, which [`status`](Self::status) tells.
    ///
    /// # Errors
    /// [`BusError`].
    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError>;

    /// Waits until there may be something to poll, for a caller that has nothing else to do. Returns whether there may be.
    /// A training step polls and does not wait.
    ///
    /// A bus that cannot tell looks again after a millisecond: so does this default.
    fn wait(&self, at_most: Duration) -> bool {
        thread::sleep(at_most.min(Duration::from_millis(1)));
        true
    }

    /// Says that a delivery was handled. Saying it twice is no error.
    ///
    /// # Errors
    /// [`BusError`].
    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError>;

    /// Waits until everything is stored that was published and acknowledged, at most `within`. Before the end of a
    /// process, call this: a bus that is dropped does not wait.
    ///
    /// # Errors
    /// [`Unflushed`], with what still waits.
    fn flush(&self, within: Duration) -> Result<(), Unflushed>;

    /// How the bus is.
    fn status(&self) -> Status;
}

/// How a bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The connection. If publishing and subscribing differ, the worse of the two.
    pub health: Health,
    /// The server has stored this publish and all before it.
    pub stored_through: Ticket,
    /// Messages that it has not stored.
    pub waiting: usize,
    /// Streams that the server refuses to write or read, and why. They are tried again.
    pub refusing: BTreeMap<Stream, BrokerError>,
    /// Why the server refuses to write dead letters. The entries stay where they are, and come again.
    pub dead_letters_refused: Option<BrokerError>,
    /// What the bus has done.
    pub counts: Counts,
}

impl<B: Bus + ?Sized> Bus for &B {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        (**self).publish(message)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        (**self).poll(most)
    }

    fn wait(&self, at_most: Duration) -> bool {
        (**self).wait(at_most)
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        (**self).acknowledge(id)
    }

    fn flush(&self, within: Duration) -> Result<(), Unflushed> {
        (**self).flush(within)
    }

    fn status(&self) -> Status {
        (**self).status()
    }
}

impl<B: Bus + ?Sized> Bus for Box<B> {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        (**self).publish(message)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        (**self).poll(most)
    }

    fn wait(&self, at_most: Duration) -> bool {
        (**self).wait(at_most)
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        (**self).acknowledge(id)
    }

    fn flush(&self, within: Duration) -> Result<(), Unflushed> {
        (**self).flush(within)
    }

    fn status(&self) -> Status {
        (**self).status()
    }
}

impl<B: Bus + ?Sized> Bus for Arc<B> {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        (**self).publish(message)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        (**self).poll(most)
    }

    fn wait(&self, at_most: Duration) -> bool {
        (**self).wait(at_most)
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        (**self).acknowledge(id)
    }

    fn flush(&self, within: Duration) -> Result<(), Unflushed> {
        (**self).flush(within)
    }

    fn status(&self) -> Status {
        (**self).status()
    }
}

/// The null object: takes nothing and delivers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBus;

impl Bus for NoBus {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        Err(Refused { message: Box::new(message), cause: PublishError::NotWired })
    }

    fn poll(&self, _: usize) -> Result<Vec<Delivery>, BusError> {
        Err(BusError::NotWired)
    }

    fn wait(&self, _: Duration) -> bool {
        false
    }

    fn acknowledge(&self, _: DeliveryId) -> Result<(), BusError> {
        Err(BusError::NotWired)
    }

    fn flush(&self, _: Duration) -> Result<(), Unflushed> {
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            health: Health::Down { since: Monotonic::ORIGIN, error: BrokerError::NotTried },
            stored_through: Ticket::NONE,
            waiting: 0,
            refusing: BTreeMap::new(),
            dead_letters_refused: None,
            counts: Counts::default(),
        }
    }
}
