//! The bytes that a command's signature covers.
//!
//! A sender serialises the command deterministically, without its signature, and signs those bytes. What it then sends can have
//! its map entries in another order and in encodings that a decoder does not preserve. So a verifier must work on the received
//! bytes. [`SignedBytes::parse`] walks them without decoding and cuts the signature out; [`SignedBytes::in_order`] returns the
//! rest with every string-keyed map, at every depth, in one of the orders that senders use. Permuting entries changes no length,
//! and the order of fields and unknown fields stays.
//!
//! A sender in Rust calls [`deterministic`], signs, and appends the signature with [`with_signature`].
//!
//! ```
//! use kasmina_leyline::{v1::AdaptationCommand, wire::{self, MapOrder, SignedBytes}};
//! use prost::Message;
//!
//! let mut command = AdaptationCommand { command_id: "cmd-1".into(), ..Default::default() };
//! command.annotations.insert("resume".into(), "".into());
//! let signed = wire::deterministic(&command.encode_to_vec())?;
//! let sent = wire::with_signature(&signed, "c2lnbmF0dXJl");
//!
//! let received = SignedBytes::parse(&sent)?;
//! assert_eq!(received.signature(), Some("c2lnbmF0dXJl".as_bytes()));
//! assert_eq!(received.in_order(MapOrder::AsReceived), signed);
//! # Ok::<(), wire::Malformed>(())
//! ```

mod check;
#[rustfmt::skip]
mod fields;
mod reader;
mod schema;
mod spell_out;
mod walk;

use check::{Checked, Signature};
use walk::Walk;

use crate::UnixTime;

/// The maximum size of a signed command in bytes: 64 KiB, our choice. Real ones have a few hundred.
pub const MAX_SIGNED_BYTES: usize = 64 << 10;

/// The maximum depth of messages in a signed command: 32, our choice. Real ones have 3, and a rollback's payload a few more.
pub const MAX_DEPTH: usize = 32;

/// The order of map entries in the bytes that were signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOrder {
    /// As received: the sender published exactly the bytes that it signed.
    AsReceived,
    /// Bytewise, except that a key goes after every key that it is a prefix of. The stock Python runtime does this.
    Upb,
    /// Bytewise. The pure Python runtime does this.
    Bytewise,
}

impl MapOrder {
    /// Every order that honest senders use, the cheapest first.
    pub const ALL: [Self; 3] = [Self::AsReceived, Self::Upb, Self::Bytewise];
}

/// Why bytes are not a well-formed command. Offsets (`at`) are counted within the message of the field.
#[allow(missing_docs, reason = "the names and messages say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    #[error("{got} bytes, at most {MAX_SIGNED_BYTES} are allowed")]
    TooLong { got: usize },
    #[error("messages are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("the field at byte {at} is cut off")]
    Truncated { at: usize },
    /// The number takes more bytes than it needs, or more than 64 bits.
    #[error("the number at byte {at} is not in its shortest form")]
    Varint { at: usize },
    /// The field number is 0 or has more than 29 bits.
    #[error("{tag} is not a valid field tag")]
    Tag { tag: u64 },
    /// A group, an unknown wire type, or a known field with the wrong one.
    #[error("field {field} has wire type {wire_type}")]
    WireType { field: u32, wire_type: u8 },
    #[error("an entry of map {field} is not one key and one value")]
    Entry { field: u32 },
    /// For example, two signatures.
    #[error("map {field} has two entries with the same key")]
    DuplicateKey { field: u32 },
    #[error("other fields are between the entries of map {field}")]
    ScatteredMap { field: u32 },
}

/// A well-formed command as it was received.
#[derive(Clone, Copy, Debug)]
pub struct SignedBytes<'a> {
    received: &'a [u8],
    checked: Checked<'a>,
}

impl<'a> SignedBytes<'a> {
    /// Walks the bytes of an `AdaptationCommand`. It decodes nothing. It allocates only for a map of more than 16 entries.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong, and where.
    pub fn parse(received: &'a [u8]) -> Result<Self, Malformed> {
        if received.len() > MAX_SIGNED_BYTES {
            return Err(Malformed::TooLong { got: received.len() });
        }
        let checked = check::check(received)?;
        Ok(Self { received, checked })
    }

    /// The content of `annotations["signature"]`: base64, if the sender is honest.
    #[must_use]
    pub fn signature(&self) -> Option<&'a [u8]> {
        self.checked.signature.map(|signature| signature.value)
    }

    /// The bytes before and after the signature: together [`MapOrder::AsReceived`], without a copy.
    #[must_use]
    pub fn as_received(&self) -> [&'a [u8]; 2] {
        match self.checked.signature {
            None => [self.received, &[]],
            Some(Signature { start, end, .. }) => [&self.received[..start], &self.received[end..]],
        }
    }

    /// Whether every map is already in this order, so that [`in_order`](Self::in_order) returns the same bytes as
    /// [`as_received`](Self::as_received).
    #[must_use]
    pub const fn is_in(&self, order: MapOrder) -> bool {
        match order {
            MapOrder::AsReceived => true,
            MapOrder::Upb => self.checked.upb,
            MapOrder::Bytewise => self.checked.bytewise,
        }
    }

    /// The bytes without the signature, with every map in this order.
    #[must_use]
    pub fn in_order(&self, order: MapOrder) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.received.len());
        self.write_in_order(order, &mut out);
        out
    }

    /// Adds to `out` what [`in_order`](Self::in_order) returns.
    pub fn write_in_order(&self, order: MapOrder, out: &mut Vec<u8>) {
        match order {
            MapOrder::AsReceived => self.as_received().into_iter().for_each(|part| out.extend_from_slice(part)),
            MapOrder::Upb | MapOrder::Bytewise => Walk::new(order, out).rearrange(self.received),
        }
    }

    /// What a decoder would read of the command's id and time of issue. `None` if it may refuse the command: if a text in it is not UTF-8,
    /// or a field has not the type that the contract gives it. Then only decoding tells.
    #[must_use]
    pub fn head(&self) -> Option<Head<'a>> {
        let Checked { readable, command_id, issued_at, .. } = self.checked;
        readable.then(|| Head { command_id, issued_at: issued_at.map(UnixTime::from) })
    }
}

/// The fields of a command that tell it from others, as a decoder would read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Empty if it has none.
    pub command_id: &'a str,
    /// `None` if it has none.
    pub issued_at: Option<UnixTime>,
}

/// A serialised command in the form that receivers agree on even if they decode and serialise it again: every map entry has its
/// key and its value spelled out, and every map is in [`MapOrder::Upb`]. An `annotations["signature"]` is dropped.
///
/// # Errors
/// [`Malformed`] if the bytes are not a command.
pub fn deterministic(command: &[u8]) -> Result<Vec<u8>, Malformed> {
    let spelled = spell_out::message(command, &fields::ADAPTATION_COMMAND, 0)?;
    Ok(SignedBytes::parse(&spelled)?.in_order(MapOrder::Upb))
}

/// Serialised bytes with `signature` appended as `annotations["signature"]`. If the command has annotations, they must come last in
/// the bytes, as in those of [`deterministic`].
#[must_use]
pub fn with_signature(signed: &[u8], signature: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(signature.len() + 16);
    reader::write_bytes(&mut entry, 1, schema::SIGNATURE);
    reader::write_bytes(&mut entry, 2, signature.as_bytes());
    let mut sent = signed.to_vec();
    reader::write_bytes(&mut sent, fields::ANNOTATIONS, &entry);
    sent
}
