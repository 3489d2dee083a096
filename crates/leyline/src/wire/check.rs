//! Checks a command's bytes, in one walk: whether they are well-formed, where the signature is, which order the maps are in, and whether a
//! decoder reads all of it.

use std::cmp::Ordering;

use prost_types::Timestamp;
use smallvec::SmallVec;

use super::{
    MAX_DEPTH, Malformed,
    fields::{ADAPTATION_COMMAND, COMMAND_ID, ISSUED_AT},
    reader::{FIXED32, FIXED64, Field, LEN, VARINT, fields},
    schema::{Child, SIGNATURE, Schema, Value},
};

/// Maps with so many entries are checked without an allocation. Real ones have fewer.
pub(super) const USUAL_ENTRIES: usize = 16;

/// A map entry, read.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) field: Field<'a>,
    pub(super) key: &'a [u8],
    value: Option<Field<'a>>,
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
    /// Whether every map, without the signature, is already in [`MapOrder::Upb`](super::MapOrder::Upb).
    pub(super) upb: bool,
    /// The same for [`MapOrder::Bytewise`](super::MapOrder::Bytewise).
    pub(super) bytewise: bool,
    /// Whether a decoder reads it for certain: every field of the contract has its type, and every text is UTF-8.
    pub(super) readable: bool,
    pub(super) command_id: &'a str,
    pub(super) issued_at: Option<Timestamp>,
}

/// Checks a command at every depth.
pub(super) fn check(bytes: &[u8]) -> Result<Checked<'_>, Malformed> {
    let mut checked =
        Checked { signature: None, upb: true, bytewise: true, readable: true, command_id: "", issued_at: None };
    checked.message(bytes, &ADAPTATION_COMMAND, 0)?;
    Ok(checked)
}

impl<'a> Checked<'a> {
    fn message(&mut self, bytes: &'a [u8], schema: &Schema, depth: usize) -> Result<(), Malformed> {
        if depth == MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        // Each schema has one map, so there can be only one run of entries.
        let mut run = Run::new();
        let mut in_run = false;
        let mut end = 0;
        let mut fields = fields(bytes);
        for field in &mut fields {
            let start = end;
            end += field.raw.len();
            let was_in_run = std::mem::replace(&mut in_run, false);
            let wrong_type = Malformed::WireType { field: field.number, wire_type: field.wire_type };
            match schema.child(field.number) {
                Child::Message(_) | Child::Map(_) if field.wire_type != LEN => return Err(wrong_type),
                Child::Message(inner) => self.message(field.payload, inner, depth + 1)?,
                Child::Map(value) => {
                    if !run.is_empty && !was_in_run {
                        return Err(Malformed::ScatteredMap { field: field.number });
                    }
                    in_run = true;
                    let entry = entry(field)?;
                    self.entry(entry, *value, depth)?;
                    // The annotations are the only map at depth 0.
                    if depth == 0 && entry.key == SIGNATURE {
                        self.signature = Some(Signature { value: entry.value(), start, end });
                        run.add_signature();
                    } else {
                        run.add(entry.key);
                    }
                }
                Child::Text if depth == 0 && field.number == COMMAND_ID => {
                    self.command_id = self.text(field).unwrap_or_default();
                }
                Child::Plain(_) if depth == 0 && field.number == ISSUED_AT => self.issued(field),
                Child::Plain(inner) => self.readable &= field.wire_type == LEN && is_plain(field.payload, inner),
                child @ (Child::Unknown
                | Child::Varint
                | Child::Fixed32
                | Child::Fixed64
                | Child::Text
                | Child::Floats) => self.readable &= is_scalar(&field, child),
            }
        }
        fields.end()?;
        self.upb &= run.upb;
        self.bytewise &= run.bytewise;
        if run.repeats(bytes, schema) { Err(Malformed::DuplicateKey { field: schema.map_field() }) } else { Ok(()) }
    }

    fn entry(&mut self, entry: Entry<'a>, value: Value, depth: usize) -> Result<(), Malformed> {
        let wire_type = entry.value.map(|value| value.wire_type);
        self.readable &= is_text(entry.key)
            && match value {
                Value::Text => wire_type.is_none_or(|it| it == LEN) && is_text(entry.value()),
                Value::Float => wire_type.is_none_or(|it| it == FIXED32),
                Value::Message(_) => wire_type.is_none_or(|it| it == LEN),
            };
        match value {
            Value::Message(inner) => self.message(entry.value(), inner, depth + 1),
            Value::Text | Value::Float => Ok(()),
        }
    }

    fn text(&mut self, field: Field<'a>) -> Option<&'a str> {
        let text = std::str::from_utf8(field.payload).ok().filter(|_| field.wire_type == LEN);
        self.readable &= text.is_some();
        text
    }

    /// A message that comes twice is one, as decoders merge them.
    fn issued(&mut self, field: Field<'a>) {
        let mut time = self.issued_at.unwrap_or_default();
        self.readable &= field.wire_type == LEN;
        let mut parts = fields(field.payload);
        for part in &mut parts {
            match (part.number, part.wire_type) {
                (1, VARINT) => time.seconds = part.value as i64,
                (2, VARINT) => time.nanos = part.value as i32,
                (1 | 2, _) => self.readable = false,
                _ => {}
            }
        }
        self.readable &= parts.end().is_ok();
        self.issued_at = Some(time);
    }
}

/// Whether a decoder reads the message for certain.
fn is_plain(bytes: &[u8], schema: &Schema) -> bool {
    let mut fields = fields(bytes);
    let readable = fields.all(|field| match schema.child(field.number) {
        Child::Plain(inner) => field.wire_type == LEN && is_plain(field.payload, inner),
        child @ (Child::Unknown
        | Child::Varint
        | Child::Fixed32
        | Child::Fixed64
        | Child::Text
        | Child::Floats
        | Child::Message(_)
        | Child::Map(_)) => is_scalar(&field, child),
    });
    readable && fields.end().is_ok()
}

/// Whether a decoder reads a field that is not a message for certain.
#[inline]
fn is_scalar(field: &Field<'_>, child: &Child) -> bool {
    match child {
        Child::Unknown => true,
        Child::Varint => field.wire_type == VARINT,
        Child::Fixed32 => field.wire_type == FIXED32,
        Child::Fixed64 => field.wire_type == FIXED64,
        Child::Text => field.wire_type == LEN && is_text(field.payload),
        Child::Floats => {
            field.wire_type == FIXED32 || (field.wire_type == LEN && field.payload.len().is_multiple_of(4))
        }
        Child::Plain(_) | Child::Message(_) | Child::Map(_) => false,
    }
}

#[inline]
fn is_text(bytes: &[u8]) -> bool {
    // Nearly all texts are, and that is found out sooner.
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// The entries of a map that were seen.
struct Run<'a> {
    is_empty: bool,
    signatures: usize,
    /// The last key that is not the signature's, which is not part of what is ordered.
    previous: Option<&'a [u8]>,
    upb: bool,
    bytewise: bool,
}

impl<'a> Run<'a> {
    const fn new() -> Self {
        Self { is_empty: true, signatures: 0, previous: None, upb: true, bytewise: true }
    }

    fn add(&mut self, key: &'a [u8]) {
        self.is_empty = false;
        if let Some(previous) = self.previous.replace(key) {
            let begins = begins(previous, key);
            self.upb &= begins.then(key.len().cmp(&previous.len())).is_lt();
            self.bytewise &= begins.then(previous.len().cmp(&key.len())).is_lt();
        }
    }

    fn add_signature(&mut self) {
        self.is_empty = false;
        self.signatures += 1;
    }

    /// Whether a key comes twice in the map of this message. None does if they are in an order.
    fn repeats(&self, bytes: &[u8], schema: &Schema) -> bool {
        let unordered = !self.upb && !self.bytewise;
        self.signatures > 1 || (unordered && repeats(bytes, schema))
    }
}

fn repeats(bytes: &[u8], schema: &Schema) -> bool {
    let entries = fields(bytes).filter(|field| field.number == schema.map_field());
    let keys = entries.filter_map(|field| entry(field).ok().map(|entry| entry.key));
    let mut keys: SmallVec<[_; USUAL_ENTRIES]> = keys.collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// The tags of a key and of a text.
const KEY: u8 = 1 << 3 | LEN;
const VALUE: u8 = 2 << 3 | LEN;

/// The key and the value of a map entry.
#[expect(clippy::inline_always, reason = "a field that is returned through memory costs more than reading it")]
#[inline(always)]
pub(super) fn entry(field: Field<'_>) -> Result<Entry<'_>, Malformed> {
    let wrong = Malformed::Entry { field: field.number };
    let (mut key, mut value) = (None, None);
    // As all senders write it: a short key, and a short text.
    if let [KEY, length @ ..0x80, rest @ ..] = field.payload
        && let Some((key, rest)) = rest.split_at_checked(usize::from(*length))
        && let [VALUE, length @ ..0x80, value @ ..] = rest
        && value.len() == usize::from(*length)
    {
        let value = Field { number: 2, wire_type: LEN, value: 0, raw: rest, payload: value };
        return Ok(Entry { field, key, value: Some(value) });
    }
    let mut parts = fields(field.payload);
    for part in &mut parts {
        let twice = match part.number {
            1 if part.wire_type == LEN => key.replace(part.payload).is_some(),
            2 => value.replace(part).is_some(),
            _ => true,
        };
        if twice {
            return Err(wrong);
        }
    }
    parts.end()?;
    Ok(Entry { field, key: key.unwrap_or_default(), value })
}

impl<'a> Entry<'a> {
    fn value(&self) -> &'a [u8] {
        self.value.map_or(&[], |value| value.payload)
    }
}

/// The order of the stock Python runtime.
pub(super) fn upb(a: &[u8], b: &[u8]) -> Ordering {
    begins(a, b).then(b.len().cmp(&a.len()))
}

/// How two texts compare as far as both go.
fn begins(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common])
}
