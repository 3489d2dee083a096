//! Map entries with their keys and values spelled out, even if they are empty: Python writes them, prost does not.

use super::{
    MAX_DEPTH, Malformed,
    reader::{fields, write_bytes},
    schema::{Child, Schema, Value},
};

/// `bytes` with both parts of every map entry spelled out, at every depth.
pub(super) fn message(bytes: &[u8], schema: &Schema, depth: usize) -> Result<Vec<u8>, Malformed> {
    if depth == MAX_DEPTH {
        return Err(Malformed::TooDeep);
    }
    let mut out = Vec::with_capacity(bytes.len());
    for field in fields(bytes) {
        let field = field?;
        match schema.child(field.number) {
            Some(Child::Message(inner)) => {
                write_bytes(&mut out, field.number, &message(field.payload, inner, depth + 1)?)
            }
            Some(Child::Map(value)) => write_bytes(&mut out, field.number, &entry(field.payload, *value, depth)?),
            None => out.extend_from_slice(field.raw),
        }
    }
    Ok(out)
}

fn entry(bytes: &[u8], value: Value, depth: usize) -> Result<Vec<u8>, Malformed> {
    let (mut key, mut held) = (&[][..], None);
    for part in fields(bytes) {
        let part = part?;
        match part.number {
            1 => key = part.payload,
            _ => held = Some(part.payload),
        }
    }
    let mut out = Vec::with_capacity(bytes.len() + 8);
    write_bytes(&mut out, 1, key);
    match value {
        Value::Text => write_bytes(&mut out, 2, held.unwrap_or_default()),
        Value::Message(inner) => write_bytes(&mut out, 2, &message(held.unwrap_or_default(), inner, depth + 1)?),
        Value::Float => {
            out.push(2 << 3 | 5);
            out.extend_from_slice(held.unwrap_or(&[0; 4]));
        }
    }
    Ok(out)
}
