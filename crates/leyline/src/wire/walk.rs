//! Checks a command's bytes, and writes them with the maps in another order.

use std::cmp::Ordering;

use super::{
    MAX_DEPTH, Malformed, MapOrder,
    fields::ADAPTATION_COMMAND,
    reader::{Field, LEN, fields},
    schema::{Child, SIGNATURE, Schema, Value},
};

/// A map entry, read.
#[derive(Clone, Copy)]
struct Entry<'a> {
    field: Field<'a>,
    key: &'a [u8],
    value: &'a [u8],
}

/// A signature, and the place of its entry in the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature<'a> {
    pub(super) value: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The result of a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub(super) signature: Option<Signature<'a>>,
    /// Whether every map, without the signature, is already in [`MapOrder::Upb`].
    pub(super) upb: bool,
    /// The same for [`MapOrder::Bytewise`].
    pub(super) bytewise: bool,
}

/// Checks `bytes` at every depth.
pub(super) fn check<'a>(bytes: &'a [u8], schema: &Schema) -> Result<Checked<'a>, Malformed> {
    let mut checked = Checked { signature: None, upb: true, bytewise: true };
    check_message(bytes, schema, 0, &mut checked)?;
    Ok(checked)
}

fn check_message<'a>(
    bytes: &'a [u8],
    schema: &Schema,
    depth: usize,
    checked: &mut Checked<'a>,
) -> Result<(), Malformed> {
    if depth == MAX_DEPTH {
        return Err(Malformed::TooDeep);
    }
    // Each schema has one map, so there can be only one run of entries.
    let mut keys = Vec::new();
    let mut previous = None;
    let mut run_ended = false;
    let mut end = 0;
    for field in fields(bytes) {
        let field = field?;
        let start = end;
        end += field.raw.len();
        let in_run = matches!(schema.child(field.number), Some(Child::Map(_)));
        run_ended |= !in_run && !keys.is_empty();
        let Some(child) = schema.child(field.number) else { continue };
        if field.wire_type != LEN {
            return Err(Malformed::WireType { field: field.number, wire_type: field.wire_type });
        }
        match child {
            Child::Message(inner) => check_message(field.payload, inner, depth + 1, checked)?,
            Child::Map(_) if run_ended => return Err(Malformed::ScatteredMap { field: field.number }),
            Child::Map(value) => {
                let entry = entry(field)?;
                keys.push(entry.key);
                if let Value::Message(inner) = value {
                    check_message(entry.value, inner, depth + 1, checked)?;
                }
                // The annotations are the only map at depth 0.
                if depth == 0 && entry.key == SIGNATURE {
                    checked.signature = Some(Signature { value: entry.value, start, end });
                } else if let Some(previous) = previous.replace(entry.key) {
                    checked.upb &= upb(previous, entry.key).is_lt();
                    checked.bytewise &= previous < entry.key;
                }
            }
        }
    }
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Malformed::DuplicateKey { field: schema.map_field() });
    }
    Ok(())
}

fn entry(field: Field<'_>) -> Result<Entry<'_>, Malformed> {
    let wrong = Malformed::Entry { field: field.number };
    let (mut key, mut value) = (None, None);
    for part in fields(field.payload) {
        let part = part?;
        let place = match part.number {
            1 if part.wire_type == LEN => &mut key,
            2 => &mut value,
            _ => return Err(wrong),
        };
        if place.replace(part.payload).is_some() {
            return Err(wrong);
        }
    }
    Ok(Entry { field, key: key.unwrap_or_default(), value: value.unwrap_or_default() })
}

/// Writes bytes that [`check`] has accepted.
pub(super) struct Walk {
    order: MapOrder,
    out: Vec<u8>,
}

impl Walk {
    pub(super) fn new(order: MapOrder, capacity: usize) -> Self {
        Self { order, out: Vec::with_capacity(capacity) }
    }

    pub(super) fn rearrange(mut self, bytes: &[u8], schema: &Schema) -> Vec<u8> {
        self.message(bytes, schema);
        self.out
    }

    fn message(&mut self, bytes: &[u8], schema: &Schema) {
        let is_command = std::ptr::eq(schema, &ADAPTATION_COMMAND);
        let mut run = Vec::new();
        let mut values = None;
        for field in fields(bytes).map_while(Result::ok) {
            match schema.child(field.number) {
                Some(Child::Map(value)) => {
                    values = Some(*value);
                    run.extend(entry(field).ok().filter(|entry| !(is_command && entry.key == SIGNATURE)));
                    continue;
                }
                Some(Child::Message(inner)) => {
                    self.entries(&mut run, values);
                    self.out.extend_from_slice(field.head());
                    self.message(field.payload, inner);
                }
                None => {
                    self.entries(&mut run, values);
                    self.out.extend_from_slice(field.raw);
                }
            }
        }
        self.entries(&mut run, values);
    }

    fn entries(&mut self, run: &mut Vec<Entry<'_>>, values: Option<Value>) {
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
            for part in fields(entry.field.payload).map_while(Result::ok) {
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

/// The order of the stock Python runtime.
fn upb(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common]).then(b.len().cmp(&a.len()))
}
