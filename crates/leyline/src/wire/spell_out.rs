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
    let mut fields = fields(bytes);
    for field in &mut fields {
        match schema.child(field.number) {
            Child::Message(inner) => write_bytes(&mut out, field.number, &message(field.payload, inner, depth + 1)?),
            Child::Map(value) => write_bytes(&mut out, field.number, &entry(field.payload, *value, depth)?),
            Child::Unknown
            | Child::Varint
            | Child::Fixed32
            | Child::Fixed64
            | Child::Text
            | Child::Floats
            | Child::Plain(_) => out.extend_from_slice(field.raw),
        }
    }
    fields.end()?;
    Ok(out)
}

fn entry(bytes: &[u8], value: Value, depth: usize) -> Result<Vec<u8>, Malformed> {
    let (mut key, mut held) = (&[][..], None);
    let mut parts = fields(bytes);
    for part in &mut parts {
        match part.number {
            1 => key = part.payload,
            _ => held = Some(part.payload),
        }
    }
    parts.end()?;
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
