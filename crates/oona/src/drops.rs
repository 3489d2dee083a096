//! Why an entry is not delivered, and what is counted.

use std::collections::BTreeMap;

/// Why an entry is not delivered, or not any more. All of these are acknowledged, so that they do not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropCause {
    /// It has no field `payload`, or more than one.
    MissingPayload,
    /// It has more than one field `signature`.
    RepeatedSignature,
    /// Its payload is longer than the limit.
    TooLarge,
    /// A secret is configured and the entry has no signature.
    MissingSignature,
    /// No accepted key made its signature.
    BadSignature,
    /// Its payload is not a `BusEnvelope`.
    Malformed,
    /// An attribute of its stamp cannot be read.
    IllegibleStamp,
    /// A type of message that this version does not know.
    UnknownType,
    /// It says that it was sent after the server stored it.
    SentInFuture,
    /// It was stored too long after it was sent: a replay, or the clocks of sender and server differ.
    Stale,
    /// It is older than the time to live.
    Expired,
    /// It was delivered as often as is allowed, and never acknowledged.
    Exhausted,
    /// It was handled here before: sent twice, or acknowledged just before the connection was lost.
    Duplicate,
    /// The stream grew too long, and the server or the bus removed it before everybody had it.
    Trimmed,
}

impl DropCause {
    /// Its name, for counters and dead letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingPayload => "missing_payload",
            Self::RepeatedSignature => "repeated_signature",
            Self::TooLarge => "too_large",
            Self::MissingSignature => "missing_signature",
            Self::BadSignature => "bad_signature",
            Self::Malformed => "malformed",
            Self::IllegibleStamp => "illegible_stamp",
            Self::UnknownType => "unknown_type",
            Self::SentInFuture => "sent_in_future",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Duplicate => "duplicate",
            Self::Trimmed => "trimmed",
        }
    }

    /// Whether the entry goes to the dead letters. What may be anybody's is only counted, or a flood of it would push
    /// out what is worth reading there.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        match self {
            Self::IllegibleStamp
            | Self::UnknownType
            | Self::SentInFuture
            | Self::Stale
            | Self::Expired
            | Self::Exhausted => true,
            Self::MissingPayload
            | Self::RepeatedSignature
            | Self::TooLarge
            | Self::MissingSignature
            | Self::BadSignature
            | Self::Malformed
            | Self::Duplicate
            | Self::Trimmed => false,
        }
    }
}

/// What a bus has done since it was made. Nothing is counted twice, but for an entry that comes again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that `publish` took, without summaries.
    pub published: u64,
    /// Entries that the server has stored, with summaries.
    pub stored: u64,
    /// CRITICAL messages that went to their home stream, because the emergency stream had its share of the minute.
    pub critical_overflow: u64,
    /// Messages of the normal stream that went to the emergency stream, because of the backlog.
    pub normal_overflow: u64,
    /// Deliveries that `poll` returned.
    pub delivered: u64,
    /// Those among them that were not the first attempt.
    pub redelivered: u64,
    /// Entries that were acknowledged by the caller.
    pub acknowledged: u64,
    /// Accepted entries of senders that set no stamp.
    pub unstamped: u64,
    /// Entries moved to the dead letters.
    pub dead_lettered: u64,
    /// Connections that were lost or timed out.
    pub disconnected: u64,
    /// Entries that were not delivered.
    pub dropped: BTreeMap<DropCause, u64>,
}

impl Counts {
    pub(crate) fn dropped(&mut self, cause: DropCause, entries: u64) {
        if entries > 0 {
            *self.dropped.entry(cause).or_default() += entries;
        }
    }

    /// The sum of both.
    #[cfg(feature = "redis")]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.published += other.published;
        self.stored += other.stored;
        self.critical_overflow += other.critical_overflow;
        self.normal_overflow += other.normal_overflow;
        self.delivered += other.delivered;
        self.redelivered += other.redelivered;
        self.acknowledged += other.acknowledged;
        self.unstamped += other.unstamped;
        self.dead_lettered += other.dead_lettered;
        self.disconnected += other.disconnected;
        for (cause, entries) in other.dropped {
            self.dropped(cause, entries);
        }
        self
    }
}
