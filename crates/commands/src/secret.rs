//! Where the shared secret comes from.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use kasmina_security::Secret;
use zeroize::Zeroizing;

/// The environment variable that holds the secret, as all of Esper's services read it.
pub const SECRET_VARIABLE: &str = "ESPER_LEYLINE_SECRET";

/// The environment variable that names a file with the secret, to keep it out of the environment.
pub const SECRET_FILE_VARIABLE: &str = "ESPER_LEYLINE_SECRET_FILE";

/// The most bytes that a file with a secret may have. Our choice: far more than any secret, so that a wrong path is noticed.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// Why the secret could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum SecretError {
    /// Neither variable is set.
    #[error("set {SECRET_VARIABLE}, or {SECRET_FILE_VARIABLE} to a file that holds the secret")]
    Missing,
    /// Both variables are set, so it is not clear which one is meant.
    #[error("{SECRET_VARIABLE} and {SECRET_FILE_VARIABLE} are both set")]
    Ambiguous,
    /// The secret is empty, which would let everybody sign. `from` is the variable.
    #[error("{from} is empty")]
    Empty { from: &'static str },
    /// Senders in other languages would sign with other bytes.
    #[error("{SECRET_VARIABLE} is not UTF-8; put the secret into a file and set {SECRET_FILE_VARIABLE}")]
    NotUtf8,
    /// The file could not be read.
    #[error("{SECRET_FILE_VARIABLE} {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// A secret, and whether its file is open to more than its owner.
#[derive(Debug)]
pub struct FoundSecret {
    /// The secret.
    pub secret: Secret,
    /// The file of the secret, if its mode lets its group or everybody read or write it. Known on Unix only. Worth a warning and
    /// not an error: container platforms mount secrets with such modes, and there nobody else is on the machine.
    pub exposed: Option<PathBuf>,
}

/// The shared secret from `variables`, usually `std::env::vars_os()`: the value of [`SECRET_VARIABLE`], or the content of the
/// file that [`SECRET_FILE_VARIABLE`] names, without the line end that editors put there.
///
/// A service that must be commanded should not start without a secret. A manager that was given no verifier obeys nobody.
///
/// # Errors
/// [`SecretError`], which never shows the secret.
pub fn read_secret(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Secret, SecretError> {
    find_secret(variables).map(|found| found.secret)
}

/// The same, and whether others can read or write the file. The text that was read is wiped from memory.
///
/// # Errors
/// [`SecretError`], which never shows the secret.
pub fn find_secret(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<FoundSecret, SecretError> {
    let (mut value, mut file) = (None, None);
    for (name, text) in variables {
        if name == OsStr::new(SECRET_VARIABLE) {
            value = Some(Zeroizing::new(text.into_encoded_bytes()));
        } else if name == OsStr::new(SECRET_FILE_VARIABLE) {
            file = Some(PathBuf::from(text));
        }
    }
    let secret = |text: &[u8], from| Secret::new(text).map_err(|_| SecretError::Empty { from });
    match (value, file) {
        (Some(_), Some(_)) => Err(SecretError::Ambiguous),
        (None, None) => Err(SecretError::Missing),
        (Some(text), None) => {
            let text = std::str::from_utf8(&text).map_err(|_| SecretError::NotUtf8)?;
            Ok(FoundSecret { secret: secret(text.as_bytes(), SECRET_VARIABLE)?, exposed: None })
        }
        (None, Some(path)) => match read_file(&path) {
            Ok((text, exposed)) => {
                let secret = secret(without_line_end(&text), SECRET_FILE_VARIABLE)?;
                Ok(FoundSecret { secret, exposed: exposed.then_some(path) })
            }
            Err(source) => Err(SecretError::Unreadable { path, source }),
        },
    }
}

/// The content of the file, and whether it is open to others. The buffer never grows, so that no copy is left behind.
fn read_file(path: &std::path::Path) -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
    let file = File::open(path)?;
    let exposed = is_exposed(&file.metadata()?);
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX_FILE_BYTES {
        let message = format!("has more than {MAX_FILE_BYTES} bytes, so it is not a secret");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok((text, exposed))
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(unix)]
fn is_exposed(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o066 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &std::fs::Metadata) -> bool {
    false
}
