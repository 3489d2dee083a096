//! The digest of a file, in the file.

use kasmina_kernel_load::Digest;
use kasmina_kernel_load::container::Header;

use crate::GrownError;
use crate::manifest::DIGEST_KEY;

/// The digest's digits while it is computed.
pub(crate) const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Writes the digest of the file into it, in place of [`BLANK`].
pub(crate) fn seal(file: &mut [u8]) -> Result<(), GrownError> {
    let digest = Digest::of(file).to_string();
    let start = position(file, BLANK)?;
    file[start..start + BLANK.len()].copy_from_slice(digest.as_bytes());
    Ok(())
}

/// The digest in the file, if it is the file's. `file` is changed while it is checked.
pub(crate) fn check(file: &mut [u8], header: &Header) -> Result<Digest, GrownError> {
    let text = header.metadata.get(DIGEST_KEY).ok_or(GrownError::Foreign { key: DIGEST_KEY })?;
    let expected: Digest = text.parse().map_err(|error| GrownError::Header { detail: format!("{error}") })?;
    let start = position(file, text)?;
    file[start..start + BLANK.len()].copy_from_slice(BLANK.as_bytes());
    let got = Digest::of(file);
    file[start..start + BLANK.len()].copy_from_slice(text.as_bytes());
    if got == expected { Ok(expected) } else { Err(GrownError::Digest { expected, got }) }
}

/// Where the digits begin. Within a JSON text the quotes would be escaped, so that only the key itself is found.
fn position(file: &[u8], digits: &str) -> Result<usize, GrownError> {
    let pattern = format!("\"{DIGEST_KEY}\":\"{digits}\"");
    let found = file.windows(pattern.len()).position(|window| window == pattern.as_bytes());
    let start = found.ok_or_else(|| GrownError::Header { detail: format!("{DIGEST_KEY} is not in its place") })?;
    Ok(start + pattern.len() - 1 - digits.len())
}
