//! Where a command has messages and string-keyed maps. Everything else is opaque.

/// The field of a command's annotations.
pub(super) const ANNOTATIONS: u32 = 20;

/// The key of its signature there.
pub(super) const SIGNATURE: &[u8] = b"signature";

/// The fields of a message that are looked into. At most one of them is a map.
pub(super) struct Schema(&'static [(u32, Child)]);

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

    /// The field of the message's map; 0 where it has none.
    pub(super) fn map_field(&self) -> u32 {
        self.0.iter().find(|(_, child)| matches!(child, Child::Map(_))).map_or(0, |(number, _)| *number)
    }
}

pub(super) static COMMAND: Schema = Schema(&[
    (10, Child::Message(&SEED_OPERATION)),
    (11, Child::Message(&OPTIMIZER_ADJUSTMENT)),
    (13, Child::Message(&STRUCT)),
    (ANNOTATIONS, Child::Map(Value::Text)),
]);
static SEED_OPERATION: Schema = Schema(&[(3, Child::Map(Value::Float))]);
static OPTIMIZER_ADJUSTMENT: Schema = Schema(&[(2, Child::Map(Value::Float))]);
static STRUCT: Schema = Schema(&[(1, Child::Map(Value::Message(&VALUE)))]);
static VALUE: Schema = Schema(&[(5, Child::Message(&STRUCT)), (6, Child::Message(&LIST))]);
static LIST: Schema = Schema(&[(1, Child::Message(&VALUE))]);
