//! The fields of a message, one after the other, in the only accepted encoding.

use super::Malformed;

/// A field as it is in the bytes.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) wire_type: u8,
    /// With its tag and length.
    pub(super) raw: &'a [u8],
    /// Without them.
    pub(super) payload: &'a [u8],
}

impl<'a> Field<'a> {
    /// The tag and the length, if there is one.
    pub(super) fn head(&self) -> &'a [u8] {
        &self.raw[..self.raw.len() - self.payload.len()]
    }
}

/// Length-delimited.
pub(super) const LEN: u8 = 2;

/// Reads the fields of `bytes`.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Malformed>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == bytes.len() {
            return None;
        }
        let field = read(bytes, at);
        // After an error, the beginning of the next field is unknown.
        at = field.as_ref().map_or(bytes.len(), |field| at + field.raw.len());
        Some(field)
    })
}

fn read(bytes: &[u8], start: usize) -> Result<Field<'_>, Malformed> {
    let mut at = start;
    let tag = varint(bytes, &mut at, start)?;
    let number =
        u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number)).ok_or(Malformed::Tag { tag })?;
    let wire_type = (tag & 7) as u8;
    let mut body = at;
    let length = match wire_type {
        0 => {
            let mut end = at;
            varint(bytes, &mut end, start)?;
            (end - at) as u64
        }
        1 => 8,
        LEN => {
            let length = varint(bytes, &mut at, start)?;
            body = at;
            length
        }
        5 => 4,
        _ => return Err(Malformed::WireType { field: number, wire_type }),
    };
    let end = usize::try_from(length).ok().and_then(|length| body.checked_add(length));
    let end = end.filter(|end| *end <= bytes.len()).ok_or(Malformed::Truncated { at: start })?;
    Ok(Field { number, wire_type, raw: &bytes[start..end], payload: &bytes[body..end] })
}

fn varint(bytes: &[u8], at: &mut usize, field: usize) -> Result<u64, Malformed> {
    let start = *at;
    // Most tags and lengths are one byte.
    if let Some(byte) = bytes.get(start).filter(|byte| **byte < 0x80) {
        *at += 1;
        return Ok((*byte).into());
    }
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).ok_or(Malformed::Truncated { at: field })?;
        *at += 1;
        // The tenth byte holds one bit.
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let minimal = byte != 0 || shift == 0;
            return if minimal { Ok(value) } else { Err(Malformed::Varint { at: start }) };
        }
    }
    Err(Malformed::Varint { at: start })
}

/// Writes a length-delimited field.
pub(super) fn write_bytes(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    write_varint(out, u64::from(number) << 3 | u64::from(LEN));
    write_varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
