//! Where the shared secret comes from.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use kasmina_security::Secret;
use zeroize::Zeroizing;

/// The variable that holds the secret, as all of Esper's services read it.
pub(crate) const VARIABLE: &str = "ESPER_LEYLINE_SECRET";
/// The variable that names a file with the secret.
pub(crate) const FILE_VARIABLE: &str = "ESPER_LEYLINE_SECRET_FILE";

/// Why there is no secret. No message shows one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("there is no secret: add --secret-file FILE, or set {VARIABLE} or {FILE_VARIABLE}")]
    Missing,
    #[error("{VARIABLE} and {FILE_VARIABLE} are both set: unset one of them, or add --secret-file FILE")]
    Ambiguous,
    #[error("the secret of {0} is empty")]
    Empty(String),
    #[error("cannot read the secret file {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// Reads the secret from `file` or, without one, from the environment. A line end at the end of a file does not belong to it.
pub(crate) fn read(file: Option<&Path>) -> Result<Secret, SecretError> {
    if let Some(path) = file {
        return from_file(path);
    }
    match (env::var_os(VARIABLE), env::var_os(FILE_VARIABLE)) {
        (Some(_), Some(_)) => Err(SecretError::Ambiguous),
        (None, None) => Err(SecretError::Missing),
        (None, Some(path)) => from_file(Path::new(&path)),
        (Some(text), None) => {
            let text = Zeroizing::new(text.into_encoded_bytes());
            Secret::new(text.as_slice()).map_err(|_| SecretError::Empty(VARIABLE.to_owned()))
        }
    }
}

fn from_file(path: &Path) -> Result<Secret, SecretError> {
    let read = fs::read(path).map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
    let text = Zeroizing::new(read);
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Secret::new(text).map_err(|_| SecretError::Empty(path.display().to_string()))
}
