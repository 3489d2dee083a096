//! Why a message is not taken, and what is wrong with a server.

use kasmina_leyline::Monotonic;

use crate::{Message, Stream};

/// A message was not taken. The caller has it back, so that nothing is lost without its doing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the message was not published: {cause}")]
pub struct Refused {
    /// The message, as it was given.
    pub message: Box<Message>,
    /// Why.
    pub cause: PublishError,
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// As many wait as may. Try again once some of them are stored, or were handled.
    #[error("{waiting} messages of {bytes} bytes wait already")]
    Full {
        /// Messages that wait.
        waiting: usize,
        /// Their bytes, without the stamps.
        bytes: usize,
    },
    /// Receivers would drop it.
    #[error("the envelope has {got} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The limit in bytes, for the envelope with its stamp.
        limit: usize,
        /// Its bytes.
        got: usize,
    },
    /// It has no type, or one that this version does not know, so that no stream is its home.
    #[error("message type {message_type} has no stream")]
    NoStream {
        /// The number in the envelope.
        message_type: i32,
    },
    /// No bus is wired.
    #[error("no bus is wired")]
    NotWired,
}

/// Why nothing can be polled or acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The bus was made without a subscription.
    #[error("the bus has no subscription")]
    NotSubscribed,
    /// An entry of a stream that is not in the subscription.
    #[error("the subscription does not include {stream:?}")]
    OtherStream {
        /// The entry's stream.
        stream: Stream,
    },
    /// So many acknowledgements wait for the server that no more are kept.
    #[error("{waiting} acknowledgements wait already")]
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// No bus is wired.
    #[error("no bus is wired")]
    NotWired,
}

/// A flush ended before everything was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{messages} messages and {acknowledgements} acknowledgements still wait; the bus is {health:?}")]
pub struct Unflushed {
    /// Messages that the server has not stored.
    pub messages: usize,
    /// Acknowledgements that it has not taken.
    pub acknowledgements: usize,
    /// The state of the connection.
    pub health: Health,
}

/// What is wrong with a server or a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No connection was tried yet.
    #[error("not connected yet")]
    NotTried,
    /// Nobody listens there, or the connection broke.
    #[error("unreachable: {detail}")]
    Unreachable {
        /// What the system said.
        detail: String,
    },
    /// The server wants a password, or another one.
    #[error("not authenticated: {detail}")]
    NotAuthenticated {
        /// What the server said.
        detail: String,
    },
    /// The user may not do this: see the server's access control list.
    #[error("no permission: {detail}")]
    NoPermission {
        /// What the server said.
        detail: String,
    },
    /// The server is a replica.
    #[error("the server is read-only")]
    ReadOnly,
    /// The server has no memory left, or cannot write to its disk.
    #[error("the server stores nothing: {detail}")]
    StoresNothing {
        /// What the server said.
        detail: String,
    },
    /// The server has begun and reads its data.
    #[error("the server is loading its data")]
    Loading,
    /// The key of a stream holds something else.
    #[error("the key is not a stream")]
    NotAStream,
    /// Somebody removed the consumer group. It is made again.
    #[error("the consumer group is gone")]
    NoGroup,
    /// An answer that this version cannot read.
    #[error("unexpected answer: {detail}")]
    Unexpected {
        /// What came.
        detail: String,
    },
}

/// The state of the connection to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last exchange went well. A bus in the process is always connected.
    Connected,
    /// The server is there and does not answer.
    Stalled {
        /// Since when, by the injected clock.
        since: Monotonic,
    },
    /// There is no connection.
    Down {
        /// Since when, by the injected clock.
        since: Monotonic,
        /// Why.
        error: BrokerError,
    },
}
