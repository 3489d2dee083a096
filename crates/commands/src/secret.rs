//! Where the shared secret comes from.

use std::{fs, io, path::PathBuf};

use kasmina_security::Secret;
use zeroize::Zeroizing;

/// The environment variable that holds the secret, as all of Esper's services read it.
pub const SECRET_VARIABLE: &str = "ESPER_LEYLINE_SECRET";

/// The environment variable that names a file with the secret, to keep it out of the environment.
pub const SECRET_FILE_VARIABLE: &str = "ESPER_LEYLINE_SECRET_FILE";

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
    /// The file could not be read.
    #[error("{SECRET_FILE_VARIABLE} {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// A secret, and whether its file can be read by more than its owner.
#[derive(Debug)]
pub struct FoundSecret {
    /// The secret.
    pub secret: Secret,
    /// The file of the secret, if its mode lets its group or everybody read it. Worth a warning; known on Unix only.
    pub exposed: Option<PathBuf>,
}

/// The shared secret from `variables`, usually `std::env::vars()`: the value of [`SECRET_VARIABLE`], or the content of the
/// file that [`SECRET_FILE_VARIABLE`] names, without the line end that editors put there.
///
/// A service that must be commanded should not start without a secret. A manager that was given no verifier obeys nobody.
///
/// # Errors
/// [`SecretError`], which never shows the secret.
pub fn read_secret(variables: impl IntoIterator<Item = (String, String)>) -> Result<Secret, SecretError> {
    find_secret(variables).map(|found| found.secret)
}

/// The same, and whether others can read the file. The text that was read is wiped from memory.
///
/// # Errors
/// [`SecretError`], which never shows the secret.
pub fn find_secret(variables: impl IntoIterator<Item = (String, String)>) -> Result<FoundSecret, SecretError> {
    let (mut value, mut file) = (None, None);
    for (name, text) in variables {
        match name.as_str() {
            SECRET_VARIABLE => value = Some(Zeroizing::new(text)),
            SECRET_FILE_VARIABLE => file = Some(PathBuf::from(text)),
            _ => {}
        }
    }
    let secret = |text: &[u8], from| Secret::new(text).map_err(|_| SecretError::Empty { from });
    match (value, file) {
        (Some(_), Some(_)) => Err(SecretError::Ambiguous),
        (None, None) => Err(SecretError::Missing),
        (Some(text), None) => Ok(FoundSecret { secret: secret(text.as_bytes(), SECRET_VARIABLE)?, exposed: None }),
        (None, Some(path)) => match fs::read(&path).map(Zeroizing::new) {
            Ok(text) => {
                let secret = secret(without_line_end(&text), SECRET_FILE_VARIABLE)?;
                let exposed = is_exposed(&path).then_some(path);
                Ok(FoundSecret { secret, exposed })
            }
            Err(source) => Err(SecretError::Unreadable { path, source }),
        },
    }
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(unix)]
fn is_exposed(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_: &std::path::Path) -> bool {
    false
}
