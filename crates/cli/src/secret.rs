//! The shared secret.

use std::{env, path::Path};

use kasmina_commands::{FoundSecret, SECRET_FILE_VARIABLE, SecretError, find_secret};

use crate::failure::Failure;

/// The secret of the file or, without one, of the environment. Warns if others can read the file.
pub(crate) fn secret(file: Option<&Path>) -> Result<FoundSecret, Failure> {
    let found = find(file)?;
    if let Some(path) = &found.exposed {
        eprintln!("warning: others can read or write {}; run `chmod 600` on it", path.display());
    }
    Ok(found)
}

fn find(file: Option<&Path>) -> Result<FoundSecret, Failure> {
    let Some(path) = file else {
        return find_secret(env::vars_os()).map_err(Failure::Secret);
    };
    find_secret([(SECRET_FILE_VARIABLE.into(), path.into())]).map_err(|error| {
        let detail = if let SecretError::Unreadable { source, .. } = &error {
            source.to_string()
        } else if matches!(error, SecretError::Empty { .. }) {
            "it is empty".to_owned()
        } else {
            error.to_string()
        };
        Failure::SecretFile { path: path.to_owned(), detail }
    })
}
