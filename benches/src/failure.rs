//! Why a run failed, in one line.

use std::{io, path::Path, path::PathBuf, process::ExitCode};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// A baseline is not what `--json` writes.
    #[error("cannot understand {path}: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    /// The options do not go together, or name something that is not there.
    #[error("{0}")]
    Options(String),
    /// A picture could not be drawn.
    #[error(transparent)]
    Picture(#[from] kasmina_canvas::PictureError),
    /// Telemetry could not be written.
    #[error(transparent)]
    Telemetry(#[from] kasmina::telemetry::SinkError),
    /// Rows are over budget, or what else fails a run.
    #[error("{0}")]
    Budget(String),
}

impl Failure {
    /// 2 if the program was called wrongly, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if matches!(self, Self::Options(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }

    /// For `map_err` on file operations: `fs::read(path).map_err(Failure::file("read", path))`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
