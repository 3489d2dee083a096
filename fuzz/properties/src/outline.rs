//! What a reordering of map entries leaves alone in a command's bytes; written without the parser that it is compared with.

/// A command's fields, in order, without the signature: the annotations sorted, payloads that hold maps as sorted bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline(Vec<(u64, Vec<u8>)>);

const ANNOTATIONS: u64 = 20;
const WITH_MAPS: [u64; 3] = [10, 11, 13];

/// `None` for bytes that are not fields.
pub(crate) fn outline(bytes: &[u8]) -> Option<Outline> {
    let mut fields: Vec<(u64, Vec<u8>)> = Vec::new();
    for (number, raw, payload) in split(bytes)? {
        if number == ANNOTATIONS && is_signature(payload) {
            continue;
        }
        let mut shown = raw.to_vec();
        if WITH_MAPS.contains(&number) {
            shown.sort_unstable();
        }
        fields.push((number, shown));
    }
    fields.chunk_by_mut(|a, b| a.0 == ANNOTATIONS && b.0 == ANNOTATIONS).for_each(<[_]>::sort_unstable);
    Some(Outline(fields))
}

/// The entries of a command's annotations, each as it stands, and where they begin and end; `None` where they are apart.
pub(crate) fn annotations(bytes: &[u8]) -> Option<(usize, usize, Vec<Vec<u8>>)> {
    let (mut at, mut start, mut end, mut entries) = (0, 0, 0, Vec::new());
    for (number, raw, _) in split(bytes)? {
        if number == ANNOTATIONS {
            if entries.is_empty() {
                start = at;
            } else if end != at {
                return None;
            }
            end = at + raw.len();
            entries.push(raw.to_vec());
        }
        at += raw.len();
    }
    Some((start, end, entries))
}

fn is_signature(entry: &[u8]) -> bool {
    let key =
        |parts: Vec<(u64, _, &[u8])>| parts.into_iter().any(|(number, _, key)| number == 1 && key == b"signature");
    split(entry).is_some_and(key)
}

/// Number, all of it, and what is behind the tag and the length.
type Part<'a> = (u64, &'a [u8], &'a [u8]);

fn split(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    let (mut rest, mut parts) = (bytes, Vec::new());
    while !rest.is_empty() {
        let whole = rest;
        let tag = varint(&mut rest)?;
        let length = match tag & 7 {
            0 => {
                let mut behind = rest;
                varint(&mut behind)?;
                rest.len() - behind.len()
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (payload, behind) = rest.split_at_checked(length)?;
        parts.push((tag >> 3, &whole[..whole.len() - behind.len()], payload));
        rest = behind;
    }
    Some(parts)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
