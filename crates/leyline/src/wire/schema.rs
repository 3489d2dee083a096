//! The fields of a command that are messages or string-keyed maps. All others are opaque. The tables are in `fields.rs`, which
//! is generated from the contract.

/// The key of the signature in a command's annotations.
pub(super) const SIGNATURE: &[u8] = b"signature";

/// The fields of a message that the walk enters. At most one of them is a map.
pub(super) struct Schema(pub(super) &'static [(u32, Child)]);

pub(super) enum Child {
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
    pub(super) fn child(&self, field: u32) -> Option<&'static Child> {
        self.0.iter().find(|(number, _)| *number == field).map(|(_, child)| child)
    }

    /// The field of the message's map; 0 if it has none.
    pub(super) fn map_field(&self) -> u32 {
        self.0.iter().find(|(_, child)| matches!(child, Child::Map(_))).map_or(0, |(number, _)| *number)
    }
}
