//! What a worker says of itself before the tensors meet: a shape that does not fit makes burn-collective wait for ever.

use kasmina_reduce::ReduceError;

/// A name has at most so many bytes: those of a seed's id, and some words.
const NAME_BYTES: usize = 192;
/// The bytes of a header, the same for all.
pub(crate) const BYTES: usize = 8 + 1 + NAME_BYTES;

/// What this worker brings: a name, which has to be the same for all, and how many bytes of facts.
pub(crate) fn write(name: &str, facts: usize) -> Result<Vec<u8>, ReduceError> {
    let too_long = || ReduceError::Link(format!("{name} is too long a name"));
    let length = u8::try_from(name.len()).ok().filter(|_| name.len() <= NAME_BYTES).ok_or_else(too_long)?;
    let mut header = (facts as u64).to_le_bytes().to_vec();
    header.push(length);
    header.extend_from_slice(name.as_bytes());
    header.resize(BYTES, 0);
    Ok(header)
}

/// How many bytes of facts each worker brings, if all bring the same by name.
pub(crate) fn agree(headers: &[Vec<u8>], ours: &str) -> Result<Vec<usize>, ReduceError> {
    let read = |(worker, header): (usize, &Vec<u8>)| {
        let (facts, theirs) =
            split(header).ok_or_else(|| ReduceError::Link(format!("worker {worker} sent no header")))?;
        if theirs != ours.as_bytes() {
            let theirs = String::from_utf8_lossy(theirs).into_owned();
            return Err(ReduceError::Mismatch { worker, ours: ours.to_owned(), theirs });
        }
        Ok(facts)
    };
    headers.iter().enumerate().map(read).collect()
}

fn split(header: &[u8]) -> Option<(usize, &[u8])> {
    let (facts, rest) = header.split_first_chunk::<8>()?;
    let (length, name) = rest.split_first()?;
    Some((usize::try_from(u64::from_le_bytes(*facts)).ok()?, name.get(..usize::from(*length))?))
}

#[cfg(test)]
mod tests {
    use super::{agree, write};

    #[test]
    fn header_that_is_not_whole_is_refused_and_never_read_past_its_end() {
        let whole = write("facts", 7).unwrap();
        assert_eq!(agree(&[whole.clone(), whole.clone()], "facts"), Ok(vec![7, 7]));
        for length in 0..14 {
            assert_eq!(agree(&[whole[..length].to_vec()], "facts").unwrap_err().reason(), "link_failed", "{length}");
        }
        let refused = agree(&[whole.clone(), write("others", 7).unwrap()], "facts").unwrap_err();
        assert_eq!(refused.to_string(), "worker 1 brings others, and this one facts");
        assert!(write(&"x".repeat(193), 0).is_err());
    }
}
