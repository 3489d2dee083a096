//! The fields of a message, one after the other, in the only accepted encoding.

use super::Malformed;

/// A field as it is in the bytes.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) wire_type: u8,
    /// What a varint says; 0 for the others.
    pub(super) value: u64,
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

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
/// Length-delimited.
pub(super) const LEN: u8 = 2;
pub(super) const FIXED32: u8 = 5;

/// Reads the fields of `bytes`, up to one that is malformed: see [`Fields::end`].
pub(super) const fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { bytes, at: 0, malformed: None }
}

pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    malformed: Option<Malformed>,
}

impl Fields<'_> {
    /// Whether all of the bytes were fields. Ask it after the last one.
    pub(super) fn end(self) -> Result<(), Malformed> {
        self.malformed.map_or(Ok(()), Err)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[expect(clippy::inline_always, reason = "a field that is returned through memory costs more than reading it")]
    #[inline(always)]
    fn next(&mut self) -> Option<Field<'a>> {
        if self.at == self.bytes.len() {
            return None;
        }
        match read(self.bytes, self.at) {
            Ok(field) => {
                self.at += field.raw.len();
                Some(field)
            }
            Err(malformed) => {
                // The beginning of the next field is unknown.
                self.at = self.bytes.len();
                self.malformed = Some(malformed);
                None
            }
        }
    }
}

#[expect(clippy::inline_always, reason = "a field that is returned through memory costs more than reading it")]
#[inline(always)]
fn read(bytes: &[u8], start: usize) -> Result<Field<'_>, Malformed> {
    // Nearly all fields are short texts, messages and entries.
    if let Some([tag @ 8..0x80, length @ ..0x80, rest @ ..]) = bytes.get(start..)
        && tag & 7 == LEN
        && let Some(payload) = rest.get(..usize::from(*length))
    {
        let raw = &bytes[start..start + 2 + payload.len()];
        return Ok(Field { number: u32::from(tag >> 3), wire_type: LEN, value: 0, raw, payload });
    }
    let (tag, mut body) = varint(bytes, start, start)?;
    let number =
        u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number)).ok_or(Malformed::Tag { tag })?;
    let wire_type = (tag & 7) as u8;
    let mut value = 0;
    let length = match wire_type {
        VARINT => {
            let end;
            (value, end) = varint(bytes, body, start)?;
            (end - body) as u64
        }
        FIXED64 => 8,
        LEN => {
            let length;
            (length, body) = varint(bytes, body, start)?;
            length
        }
        FIXED32 => 4,
        _ => return Err(Malformed::WireType { field: number, wire_type }),
    };
    let end = usize::try_from(length).ok().and_then(|length| body.checked_add(length));
    let end = end.filter(|end| *end <= bytes.len()).ok_or(Malformed::Truncated { at: start })?;
    Ok(Field { number, wire_type, value, raw: &bytes[start..end], payload: &bytes[body..end] })
}

/// The number at `at`, and where it ends.
#[inline]
fn varint(bytes: &[u8], at: usize, field: usize) -> Result<(u64, usize), Malformed> {
    match bytes.get(at..) {
        // Most tags and lengths are one byte, and the others two.
        Some([byte @ ..0x80, ..]) => Ok(((*byte).into(), at + 1)),
        Some([low, high @ 1..0x80, ..]) => Ok((u64::from(low & 0x7f) | u64::from(*high) << 7, at + 2)),
        _ => long_varint(bytes, at, field),
    }
}

fn long_varint(bytes: &[u8], start: usize, field: usize) -> Result<(u64, usize), Malformed> {
    let mut value = 0_u64;
    for (at, shift) in (start..).zip((0..70).step_by(7)) {
        let byte = *bytes.get(at).ok_or(Malformed::Truncated { at: field })?;
        // The tenth byte holds one bit.
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let minimal = byte != 0 || shift == 0;
            return if minimal { Ok((value, at + 1)) } else { Err(Malformed::Varint { at: start }) };
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
