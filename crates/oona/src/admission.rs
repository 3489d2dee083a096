//! Which entries are delivered. It has no clock and no socket: an entry and the time are arguments.

use kasmina_leyline::{
    UnixTime,
    v1::{BusEnvelope, BusMessageType, MessagePriority},
};
use prost::Message;

use crate::{BusSettings, DropCause, EntryId, EntryKeys, Stamp, Stream};

/// The fields of an entry, as the server has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// Its stream.
    pub stream: Stream,
    /// Its place there.
    pub id: EntryId,
    /// Names and values, in order. Nobody promises UTF-8.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An entry that may be delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// What was sent.
    pub envelope: BusEnvelope,
    /// What it holds.
    pub message_type: BusMessageType,
    /// NORMAL if the sender named none, but CRITICAL on the emergency stream.
    pub priority: MessagePriority,
    /// Its stamp.
    pub stamp: Stamp,
    /// The time from which the time to live counts.
    pub issued_at: UnixTime,
}

/// Decides whether an entry is delivered at `now`, by the wall clock of this machine.
///
/// The signature is checked before anything is decoded, over the bytes as they came. Freshness compares the sender's
/// clock with the server's, which gave the entry its id; so it says the same whenever the entry is read. The time to
/// live ends by `now`.
///
/// # Errors
/// Why it is not delivered.
pub fn admit(entry: &RawEntry, keys: &EntryKeys, settings: &BusSettings, now: UnixTime) -> Result<Admitted, DropCause> {
    let payload = only(&entry.fields, b"payload").ok().flatten().ok_or(DropCause::MissingPayload)?;
    if payload.len() > settings.max_payload_bytes {
        return Err(DropCause::TooLarge);
    }
    if keys.are_configured() {
        let signature = only(&entry.fields, b"signature").map_err(|Repeated| DropCause::RepeatedSignature)?;
        if !keys.made(signature.ok_or(DropCause::MissingSignature)?, payload) {
            return Err(DropCause::BadSignature);
        }
    }
    let envelope = BusEnvelope::decode(payload).map_err(|_| DropCause::Malformed)?;
    judge(envelope, entry.stream, entry.id.time(), settings, now)
}

/// What is left to check of an envelope that is known to be authentic.
pub(crate) fn judge(
    envelope: BusEnvelope,
    stream: Stream,
    stored_at: UnixTime,
    settings: &BusSettings,
    now: UnixTime,
) -> Result<Admitted, DropCause> {
    let message_type = BusMessageType::try_from(envelope.message_type).ok();
    let message_type = message_type.filter(|it| Stream::home(*it).is_some()).ok_or(DropCause::UnknownType)?;
    let stamp = Stamp::read(&envelope).map_err(|_| DropCause::IllegibleStamp)?;
    if stamp.sent_at.max(stamp.issued_at).is_some_and(|at| at.since(stored_at) > settings.ahead) {
        return Err(DropCause::SentInFuture);
    }
    if stamp.sent_at.or(stamp.issued_at).is_some_and(|at| stored_at.since(at) > settings.freshness) {
        return Err(DropCause::Stale);
    }
    let issued_at = stamp.issued_at.or(stamp.sent_at).unwrap_or(stored_at);
    if now.since(issued_at) > settings.time_to_live {
        return Err(DropCause::Expired);
    }
    let unstated = if stream == Stream::Emergency { MessagePriority::Critical } else { MessagePriority::Normal };
    let priority = stamp.priority.unwrap_or(unstated);
    Ok(Admitted { envelope, message_type, priority, stamp, issued_at })
}

struct Repeated;

/// The value of the only field of that name.
fn only<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &[u8]) -> Result<Option<&'a [u8]>, Repeated> {
    let mut values = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice());
    let first = values.next();
    if values.next().is_some() { Err(Repeated) } else { Ok(first) }
}
