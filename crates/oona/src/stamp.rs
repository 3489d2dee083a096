//! The attributes that a bus adds to every envelope.

use kasmina_leyline::{
    UnixTime,
    v1::{BusEnvelope, MessagePriority},
};

const ISSUED_AT: &str = "issued_at_ms";
const SENT_AT: &str = "sent_at_ms";
const MESSAGE_ID: &str = "message_id";
const PRIORITY: &str = "priority";
const NANOS_IN_MILLI: i64 = 1_000_000;

/// The attributes that a bus adds to every envelope. Like all of the envelope, the signature covers them.
///
/// | attribute | value | its use |
/// |---|---|---|
/// | `issued_at_ms` | milliseconds since the Unix epoch, when `publish` was called | the time to live counts from here |
/// | `sent_at_ms` | likewise, when the entry was last sent to the server | freshness: how long it took into the stream |
/// | `message_id` | a name that no other message has | an entry that was sent twice, because the answer was lost, is handled once |
/// | `priority` | the name of a `MessagePriority` | a subscriber handles CRITICAL first |
///
/// Existing senders set none of them. Their envelopes are accepted and counted as `unstamped`: the time to live counts
/// from the moment at which the server stored the entry, freshness cannot be checked, the priority is NORMAL (CRITICAL
/// on the emergency stream), and a message that its sender sends twice is delivered twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When it was published.
    pub issued_at: Option<UnixTime>,
    /// When it was last sent to the server.
    pub sent_at: Option<UnixTime>,
    /// The sender's name for the message.
    pub message_id: Option<String>,
    /// How urgent it is.
    pub priority: Option<MessagePriority>,
}

/// An attribute of the [`Stamp`] is there but cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Illegible;

impl Stamp {
    /// Writes the stamp, over what is there.
    pub(crate) fn write(&self, envelope: &mut BusEnvelope) {
        let time = |at: UnixTime| at.as_nanos().div_euclid(NANOS_IN_MILLI).to_string();
        let values = [
            (ISSUED_AT, self.issued_at.map(time)),
            (SENT_AT, self.sent_at.map(time)),
            (MESSAGE_ID, self.message_id.clone()),
            (PRIORITY, self.priority.map(|priority| priority.as_str_name().to_owned())),
        ];
        for (name, value) in values {
            match value {
                Some(value) => envelope.attributes.insert(name.to_owned(), value),
                None => envelope.attributes.remove(name),
            };
        }
    }

    /// Reads the stamp of an envelope; what is absent is `None`.
    pub(crate) fn read(envelope: &BusEnvelope) -> Result<Self, Illegible> {
        let attribute = |name: &str| envelope.attributes.get(name);
        let time = |name: &str| match attribute(name) {
            Some(text) => text.parse().map(|millis| Some(UnixTime::from_millis(millis))).map_err(|_| Illegible),
            None => Ok(None),
        };
        let priority = match attribute(PRIORITY) {
            Some(name) => Some(MessagePriority::from_str_name(name).ok_or(Illegible)?),
            None => None,
        };
        Ok(Self {
            issued_at: time(ISSUED_AT)?,
            sent_at: time(SENT_AT)?,
            message_id: attribute(MESSAGE_ID).cloned(),
            priority,
        })
    }
}
