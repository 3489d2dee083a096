//! Why a command failed, in one line.

use std::{io, path::Path, path::PathBuf, process::ExitCode};

use kasmina_canvas::PictureError;
use kasmina_watch::ServerError;

use crate::{digits::DigitsError, growth::GrowthError};

/// Why a command failed. Every message is one line that says what to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },
    /// A program ran and failed; it has said why itself.
    #[error("{command} failed ({status})")]
    Command { command: String, status: std::process::ExitStatus },
    /// A program that this one runs was called wrongly; it has said why itself.
    #[error("{program} was called wrongly")]
    Arguments { program: &'static str },
    /// A program or file says something that cannot be understood.
    #[error("cannot understand {what}: {source}")]
    Json { what: String, source: serde_json::Error },
    /// Cargo does not accept the workspace.
    #[error("cargo: {0}")]
    Workspace(String),
    /// Tests failed, or none ran.
    #[error("{0}")]
    Tests(String),
    /// ARCHITECTURE.md and the workspace say different things; each has been printed.
    #[error("{0}")]
    Architecture(String),
    /// Checks of `verify` failed.
    #[error("{} of {of} checks failed: {}", .names.len(), .names.join(", "))]
    Checks { names: Vec<&'static str>, of: usize },
    /// A fuzz target found something, or cannot be run.
    #[error("{0}")]
    Fuzz(String),
    /// The digits could not be read.
    #[error("data/digits.csv.gz: {0}")]
    Digits(#[from] DigitsError),
    /// A picture could not be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The page of a run cannot be served.
    #[error(transparent)]
    Watch(#[from] ServerError),
    /// The demo's training failed.
    #[error("demo: {0}")]
    Demo(String),
    /// Growth could not be measured.
    #[error("growth: {0}")]
    Growth(#[from] GrowthError),
    /// A killed process has lost, doubled or spoilt something, or could not be started.
    #[error("crash: {0}")]
    Crash(String),
    /// A manager that works for a long time needs more and more, or has failed.
    #[error("soak: {0}")]
    Soak(String),
}

impl Failure {
    /// 2 if a command was called wrongly, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if matches!(self, Self::Arguments { .. }) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }

    /// For `map_err` on file operations: `fs::read(path).map_err(Failure::file("read", path))`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
