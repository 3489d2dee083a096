//! What is published, and what arrives.

use std::fmt;

use kasmina_leyline::{
    UnixTime,
    v1::{BusEnvelope, BusMessageType, MessagePriority},
};

use crate::Stream;

/// A message to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What is sent. The bus adds the attributes of [`Stamp`](crate::Stamp), and replaces those that are there.
    pub envelope: BusEnvelope,
    /// CRITICAL goes to the emergency stream. `UNSPECIFIED` counts as NORMAL.
    pub priority: MessagePriority,
}

impl Message {
    /// A message of NORMAL priority.
    #[must_use]
    pub fn new(message_type: BusMessageType, payload: impl Into<Vec<u8>>) -> Self {
        let envelope =
            BusEnvelope { message_type: message_type.into(), payload: payload.into(), ..BusEnvelope::default() };
        Self { envelope, priority: MessagePriority::Normal }
    }

    /// The same message with another priority.
    #[must_use]
    pub fn with_priority(mut self, priority: MessagePriority) -> Self {
        self.priority = priority;
        self
    }
}

/// The number of a publish: the first of a bus is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// Before the first publish.
    pub const NONE: Self = Self(0);

    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The place of an entry in its stream: milliseconds of the Unix epoch by the server's clock, and a number within that
/// millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
    /// Number within the millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// Reads `1700000000000-0`.
    #[cfg(feature = "redis")]
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (millis, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? })
    }

    /// When the entry came into the stream.
    #[must_use]
    pub fn time(self) -> UnixTime {
        UnixTime::from_millis(i64::try_from(self.millis).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// Which entry a delivery is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryId {
    /// Its stream.
    pub stream: Stream,
    /// Its place there.
    pub entry: EntryId,
}

/// A message that has arrived. It is delivered again until it is [acknowledged](crate::Bus::acknowledge).
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// What to acknowledge.
    pub id: DeliveryId,
    /// What the envelope holds.
    pub message_type: BusMessageType,
    /// What was sent, with its [`Stamp`](crate::Stamp).
    pub envelope: BusEnvelope,
    /// NORMAL if the sender named none.
    pub priority: MessagePriority,
    /// How often the entry was delivered to its group, this time included.
    pub attempt: u32,
}

/// Who reads which streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Consumers of a group share the entries; every group gets all of them.
    pub group: String,
    /// The consumer's name, its own in the group.
    pub consumer: String,
    /// What is read, in the order of [`Stream::ALL`], however it is listed here.
    pub streams: Vec<Stream>,
}

impl Subscription {
    /// A subscription to these streams.
    #[must_use]
    pub fn new(group: impl Into<String>, consumer: impl Into<String>, streams: impl Into<Vec<Stream>>) -> Self {
        let mut streams = streams.into();
        streams.sort_unstable();
        streams.dedup();
        Self { group: group.into(), consumer: consumer.into(), streams }
    }
}
