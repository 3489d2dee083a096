//! Where the shared secret comes from.

use std::{fs, path::PathBuf};

use kasmina_security::Secret;

/// The environment variable that holds the secret, as all of Esper's services read it.
pub const SECRET_VARIABLE: &str = "ESPER_LEYLINE_SECRET";

/// The environment variable that names a file with the secret, for those who keep it out of the environment.
pub const SECRET_FILE_VARIABLE: &str = "ESPER_LEYLINE_SECRET_FILE";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Neither variable is set.
    #[error("set {SECRET_VARIABLE}, or {SECRET_FILE_VARIABLE} to a file that holds the secret")]
    Missing,
    /// Both variables are set: there is no telling which is meant.
    #[error("{SECRET_VARIABLE} and {SECRET_FILE_VARIABLE} are both set")]
    Ambiguous,
    /// The secret is empty, which would let everybody sign.
    #[error("{from} is empty")]
    Empty {
        /// The variable that it came from.
        from: &'static str,
    },
    /// The file could not be read.
    #[error("{SECRET_FILE_VARIABLE} {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The shared secret out of `variables`, usually `std::env::vars()`: the value of [`SECRET_VARIABLE`], or the content of the
/// file that [`SECRET_FILE_VARIABLE`] names, without the line end that editors put there.
///
/// A service that must be commanded should not start without one. A manager that was given no verifier obeys nobody.
///
/// # Errors
/// [`SecretError`]; it never shows the secret.
pub fn read_secret(variables: impl IntoIterator<Item = (String, String)>) -> Result<Secret, SecretError> {
    let (mut value, mut file) = (None, None);
    for (name, text) in variables {
        match name.as_str() {
            SECRET_VARIABLE => value = Some(text),
            SECRET_FILE_VARIABLE => file = Some(PathBuf::from(text)),
            _ => {}
        }
    }
    let (text, from) = match (value, file) {
        (Some(_), Some(_)) => return Err(SecretError::Ambiguous),
        (None, None) => return Err(SecretError::Missing),
        (Some(text), None) => (text.into_bytes(), SECRET_VARIABLE),
        (None, Some(path)) => {
            let mut text = fs::read(&path).map_err(|source| SecretError::Unreadable { path, source })?;
            while text.last().is_some_and(|byte| b"\r\n".contains(byte)) {
                text.pop();
            }
            (text, SECRET_FILE_VARIABLE)
        }
    };
    Secret::new(&text).map_err(|_| SecretError::Empty { from })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(variables: [(&str, &str); N]) -> Result<Secret, SecretError> {
        read_secret(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn it_is_read_from_either_and_from_neither_twice() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hush\n").unwrap();
        let path = file.path().to_str().unwrap();
        assert!(read([(SECRET_VARIABLE, "hush")]).is_ok());
        assert!(read([(SECRET_FILE_VARIABLE, path)]).is_ok());
        assert!(matches!(read([]), Err(SecretError::Missing)));
        assert!(matches!(read([("PATH", "/bin")]), Err(SecretError::Missing)));
        let both = [(SECRET_VARIABLE, "hush"), (SECRET_FILE_VARIABLE, path)];
        assert!(matches!(read(both), Err(SecretError::Ambiguous)));
    }

    #[test]
    fn what_is_empty_or_absent_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "\r\n\n").unwrap();
        let path = file.path().to_str().unwrap();
        assert!(matches!(read([(SECRET_VARIABLE, "")]), Err(SecretError::Empty { from: SECRET_VARIABLE })));
        assert!(matches!(read([(SECRET_FILE_VARIABLE, path)]), Err(SecretError::Empty { from: SECRET_FILE_VARIABLE })));
        let error = read([(SECRET_FILE_VARIABLE, "no/such/file")]).unwrap_err();
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
