//! Why a command failed, in one line.

use std::{io, path::PathBuf};

use kasmina_leyline::{InvalidId, wire::Malformed};
use kasmina_rollback::StoreError;

use crate::secret::SecretError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the name of the sender cannot begin a command id: {0}")]
    Sender(#[source] InvalidId),
    #[error("a receiver would refuse this command: {0}")]
    Refused(#[from] Malformed),
    #[error("standard output is a terminal, and a command is not text: add --out FILE")]
    Terminal,
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Store(#[from] StoreError),
}
