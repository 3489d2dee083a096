//! What is checked and settled before a message is taken.

use kasmina_leyline::v1::{BusMessageType, MessagePriority};
use prost::Message as _;

use crate::{BusSettings, Message, PublishError, Stream};

/// What a stamp adds to an envelope at most, in bytes: four attributes with their framing.
const STAMP_BYTES: usize = 192;

/// What is known of a message that may be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    pub(crate) home: Stream,
    pub(crate) priority: MessagePriority,
    /// The encoded envelope, without its stamp.
    pub(crate) bytes: usize,
}

pub(crate) fn prepare(message: &Message, settings: &BusSettings) -> Result<Prepared, PublishError> {
    let message_type = message.envelope.message_type;
    let home = BusMessageType::try_from(message_type).ok().and_then(Stream::home);
    let home = home.ok_or(PublishError::NoStream { message_type })?;
    let (bytes, limit) = (message.envelope.encoded_len(), settings.max_payload_bytes);
    if bytes.saturating_add(STAMP_BYTES) > limit {
        return Err(PublishError::TooLarge { limit, got: bytes.saturating_add(STAMP_BYTES) });
    }
    let priority = match message.priority {
        MessagePriority::Unspecified => MessagePriority::Normal,
        MessagePriority::Low | MessagePriority::Normal | MessagePriority::High | MessagePriority::Critical => {
            message.priority
        }
    };
    Ok(Prepared { home, priority, bytes })
}

/// Whether a message of the normal stream goes to the emergency stream instead, with so many entries waiting in each.
pub(crate) fn overflows(priority: MessagePriority, normal: u64, emergency: u64, threshold: u64) -> bool {
    // LOW can wait by definition, and CRITICAL has been routed before.
    let may = matches!(priority, MessagePriority::Normal | MessagePriority::High);
    may && normal > threshold && emergency <= threshold
}
