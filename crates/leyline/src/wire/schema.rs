//! The fields of a command, and of the messages in it. The tables are in `fields.rs`, which is generated from the contract.

/// The key of the signature in a command's annotations.
pub(super) const SIGNATURE: &[u8] = b"signature";

/// The fields of a message, by number. At most one of them is a map.
pub(super) struct Schema(pub(super) &'static [Child]);

/// What a field of that number is.
pub(super) enum Child {
    /// The contract has none of that number, so decoders skip it.
    Unknown,
    Varint,
    Fixed32,
    Fixed64,
    Text,
    /// Any number of floats, in one field or in several.
    Floats,
    /// A message without a map in it, which the walk does not enter.
    Plain(&'static Schema),
    /// A message with a map in it, at any depth.
    Message(&'static Schema),
    Map(Value),
}

/// What a map's values are.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Text,
    Float,
    Message(&'static Schema),
}

impl Schema {
    pub(super) fn child(&self, field: u32) -> &'static Child {
        self.0.get(field as usize).unwrap_or(&Child::Unknown)
    }

    /// The field of the message's map; 0 if it has none.
    pub(super) fn map_field(&self) -> u32 {
        self.0.iter().position(|child| matches!(child, Child::Map(_))).map_or(0, |number| number as u32)
    }
}
