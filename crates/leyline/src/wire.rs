//! The bytes that a command's signature is of.
//!
//! A sender serialises the command without its signature, deterministically, and signs those bytes; what it then sends may
//! have its map entries in another order, spelled in ways that a decoder does not keep. So a verifier must work on the
//! received bytes: [`SignedBytes::parse`] walks them without decoding, takes the signature out, and
//! [`SignedBytes::in_order`] gives the rest with every string-keyed map, at every depth, in one of the orders that senders
//! use. Permuting entries changes no length; field order and unknown fields stay as they are.
//!
//! A sender in Rust does [`deterministic`], signs, and appends the signature with [`with_signature`].
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

#[rustfmt::skip]
mod fields;
mod reader;
mod schema;
mod spell_out;
mod walk;

use walk::{Checked, Signature, Walk};

/// The most bytes of a signed command: 64 KiB, our choice. Real ones have some hundreds.
pub const MAX_SIGNED_BYTES: usize = 64 << 10;

/// The deepest nesting of messages in a signed command: 32, our choice. Real ones have 3, a rollback's payload a few more.
pub const MAX_DEPTH: usize = 32;

/// The order of map entries in the bytes that were signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOrder {
    /// As they arrived: the sender published the bytes that it signed.
    AsReceived,
    /// The common prefix decides, and where one key is the other's prefix the longer goes first: the stock Python runtime.
    Upb,
    /// Bytewise: the pure Python runtime.
    Bytewise,
}

impl MapOrder {
    /// Every order that honest senders use, the cheapest first.
    pub const ALL: [Self; 3] = [Self::AsReceived, Self::Upb, Self::Bytewise];
}

/// Bytes that are no well-formed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// More bytes than [`MAX_SIGNED_BYTES`].
    #[error("{got} bytes, at most {MAX_SIGNED_BYTES} are taken")]
    TooLong {
        /// How many.
        got: usize,
    },
    /// Messages in messages beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// The bytes end in the middle of a field.
    #[error("cut off within the field at byte {at}")]
    Truncated {
        /// Where the field begins, counted within its message.
        at: usize,
    },
    /// A number in more bytes than it needs, or beyond 64 bits.
    #[error("a number at byte {at} is not in its shortest form")]
    Varint {
        /// Where, counted within its message.
        at: usize,
    },
    /// A tag with field number 0, or with a number beyond 29 bits.
    #[error("no field has the tag {tag}")]
    Tag {
        /// The tag.
        tag: u64,
    },
    /// A group, an unknown wire type, or a known field in the wrong one.
    #[error("field {field} has wire type {wire_type}")]
    WireType {
        /// Which field.
        field: u32,
        /// Its wire type.
        wire_type: u8,
    },
    /// A map entry with something else than one key and one value.
    #[error("an entry of map {field} is not one key and one value")]
    Entry {
        /// The map's field.
        field: u32,
    },
    /// Two entries of a map with the same key, such as two signatures.
    #[error("a key stands twice in map {field}")]
    DuplicateKey {
        /// The map's field.
        field: u32,
    },
    /// A map's entries with other fields between them.
    #[error("the entries of map {field} are not together")]
    ScatteredMap {
        /// The map's field.
        field: u32,
    },
}

/// A well-formed command as it was received.
#[derive(Clone, Copy, Debug)]
pub struct SignedBytes<'a> {
    received: &'a [u8],
    checked: Checked<'a>,
}

impl<'a> SignedBytes<'a> {
    /// Walks the bytes of an `AdaptationCommand`. Nothing is decoded, nothing is allocated for what lies in them.
    ///
    /// # Errors
    /// [`Malformed`], naming what is wrong.
    pub fn parse(received: &'a [u8]) -> Result<Self, Malformed> {
        if received.len() > MAX_SIGNED_BYTES {
            return Err(Malformed::TooLong { got: received.len() });
        }
        let checked = walk::check(received, &fields::ADAPTATION_COMMAND)?;
        Ok(Self { received, checked })
    }

    /// What `annotations["signature"]` holds: base64, if its sender is honest.
    #[must_use]
    pub fn signature(&self) -> Option<&'a [u8]> {
        self.checked.signature.map(|signature| signature.value)
    }

    /// The bytes before and behind the signature: together they are [`MapOrder::AsReceived`], without a copy.
    #[must_use]
    pub fn as_received(&self) -> [&'a [u8]; 2] {
        match self.checked.signature {
            None => [self.received, &[]],
            Some(Signature { start, end, .. }) => [&self.received[..start], &self.received[end..]],
        }
    }

    /// Whether [`in_order`](Self::in_order) gives the bytes that [`as_received`](Self::as_received) gives: every map is in
    /// this order already.
    #[must_use]
    pub const fn is_in(&self, order: MapOrder) -> bool {
        match order {
            MapOrder::AsReceived => true,
            MapOrder::Upb => self.checked.upb,
            MapOrder::Bytewise => self.checked.bytewise,
        }
    }

    /// The bytes without the signature, every map in this order.
    #[must_use]
    pub fn in_order(&self, order: MapOrder) -> Vec<u8> {
        if order == MapOrder::AsReceived {
            return self.as_received().concat();
        }
        Walk::new(order, self.received.len()).rearrange(self.received, &fields::ADAPTATION_COMMAND)
    }
}

/// A serialised command in the form that receivers which decode and serialise again agree on: every map entry with its
/// key and its value spelled out, every map in [`MapOrder::Upb`]. An `annotations["signature"]` is dropped.
///
/// # Errors
/// [`Malformed`] for bytes that are no command.
pub fn deterministic(command: &[u8]) -> Result<Vec<u8>, Malformed> {
    let spelled = spell_out::message(command, &fields::ADAPTATION_COMMAND, 0)?;
    Ok(SignedBytes::parse(&spelled)?.in_order(MapOrder::Upb))
}

/// Serialised bytes with `signature` put behind them as `annotations["signature"]`. The bytes end in the annotations, if
/// there are any: those of [`deterministic`] do.
#[must_use]
pub fn with_signature(signed: &[u8], signature: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(signature.len() + 16);
    reader::write_bytes(&mut entry, 1, schema::SIGNATURE);
    reader::write_bytes(&mut entry, 2, signature.as_bytes());
    let mut sent = signed.to_vec();
    reader::write_bytes(&mut sent, fields::ANNOTATIONS, &entry);
    sent
}
