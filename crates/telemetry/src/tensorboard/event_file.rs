//! A new event file in a directory.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use kasmina_leyline::UnixTime;

use crate::TfEventsSink;

/// Why an event file could not be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot create {}: {source}", path.display())]
pub struct EventFileError {
    /// The directory or the file.
    pub path: PathBuf,
    /// The error of the operating system.
    pub source: io::Error,
}

impl TfEventsSink<File> {
    /// A sink that writes a new event file in `directory`, which is created when it is not there. Give each run a directory of its own:
    /// TensorBoard shows a directory as a run, named after its path below `--logdir`.
    ///
    /// The file is called `events.out.tfevents.SECONDS.NUMBER.kasmina`, after `started`. An existing file is never opened, so that a run that
    /// goes on after a restart has one more file; TensorBoard reads them in the order of their names.
    ///
    /// # Errors
    /// [`EventFileError`] if the directory or the file cannot be created.
    pub fn create(directory: impl AsRef<Path>, started: UnixTime) -> Result<Self, EventFileError> {
        let directory = directory.as_ref();
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| EventFileError { path, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let seconds = started.as_nanos().div_euclid(1_000_000_000);
        let mut number = 0_u32;
        loop {
            let path = directory.join(format!("events.out.tfevents.{seconds:010}.{number:04}.kasmina"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self::new(file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < u32::MAX => number += 1,
                Err(error) => return Err(failed(&path)(error)),
            }
        }
    }
}
