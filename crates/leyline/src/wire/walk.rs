//! Writes a command's bytes with the maps in another order.

use smallvec::SmallVec;

use super::{
    MapOrder,
    check::{Entry, USUAL_ENTRIES, entry, upb},
    fields::ADAPTATION_COMMAND,
    reader::{LEN, fields},
    schema::{Child, SIGNATURE, Schema, Value},
};

type Run<'a> = SmallVec<[Entry<'a>; USUAL_ENTRIES]>;

/// Writes bytes that were [checked](super::check).
pub(super) struct Walk<'o> {
    order: MapOrder,
    out: &'o mut Vec<u8>,
}

impl<'o> Walk<'o> {
    pub(super) fn new(order: MapOrder, out: &'o mut Vec<u8>) -> Self {
        Self { order, out }
    }

    /// Adds the command, without its signature.
    pub(super) fn rearrange(mut self, bytes: &[u8]) {
        self.message(bytes, &ADAPTATION_COMMAND);
    }

    fn message(&mut self, bytes: &[u8], schema: &Schema) {
        let is_command = std::ptr::eq(schema, &ADAPTATION_COMMAND);
        let mut run = Run::new();
        let mut values = None;
        for field in fields(bytes) {
            match schema.child(field.number) {
                Child::Map(value) => {
                    values = Some(*value);
                    run.extend(entry(field).ok().filter(|entry| !(is_command && entry.key == SIGNATURE)));
                }
                Child::Message(inner) => {
                    self.entries(&mut run, values);
                    self.out.extend_from_slice(field.head());
                    self.message(field.payload, inner);
                }
                Child::Unknown
                | Child::Varint
                | Child::Fixed32
                | Child::Fixed64
                | Child::Text
                | Child::Floats
                | Child::Plain(_) => {
                    self.entries(&mut run, values);
                    self.out.extend_from_slice(field.raw);
                }
            }
        }
        self.entries(&mut run, values);
    }

    fn entries(&mut self, run: &mut Run<'_>, values: Option<Value>) {
        match self.order {
            MapOrder::AsReceived => {}
            MapOrder::Upb => run.sort_unstable_by(|a, b| upb(a.key, b.key)),
            MapOrder::Bytewise => run.sort_unstable_by_key(|entry| entry.key),
        }
        for entry in run.drain(..) {
            let Some(Value::Message(inner)) = values else {
                self.out.extend_from_slice(entry.field.raw);
                continue;
            };
            self.out.extend_from_slice(entry.field.head());
            for part in fields(entry.field.payload) {
                if part.number == 2 && part.wire_type == LEN {
                    self.out.extend_from_slice(part.head());
                    self.message(part.payload, inner);
                } else {
                    self.out.extend_from_slice(part.raw);
                }
            }
        }
    }
}
