//! The runs under a directory.

use std::{
    fs::{self, File, Metadata},
    io::ErrorKind,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use crate::follow::{self, Chunk, Cursor, FollowError};

/// Finds files of telemetry under a directory, and reads what is new in them.
///
/// A run is a file whose name ends in `.jsonl`, in the directory itself or below it. Links are not followed, so nothing outside of the
/// directory can be read. The directory and its files may come and go.
#[derive(Clone, Debug)]
pub struct Follower {
    directory: PathBuf,
}

/// A file of telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// Its path from the directory, with `/` between the parts, on every platform.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was last written, if the file system says so.
    pub modified: Option<SystemTime>,
}

/// What is in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Runs {
    /// The last written one first.
    pub found: Vec<Run>,
    /// Whether the directory is there and can be listed.
    pub is_there: bool,
    /// Whether there may be more: the directory has more entries than [`Follower::MOST_ENTRIES`] or is deeper than
    /// [`Follower::MOST_LEVELS`].
    pub has_more: bool,
}

impl Follower {
    /// How many files and directories are looked at. Our choice: it takes some milliseconds.
    pub const MOST_ENTRIES: usize = 10_000;

    /// How many directories deep a run may be. Our choice.
    pub const MOST_LEVELS: usize = 8;

    /// The runs under `directory`, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The runs that are there now. What cannot be read, or has a name that is not UTF-8, is left out.
    #[must_use]
    pub fn runs(&self) -> Runs {
        let mut runs = Runs { is_there: fs::read_dir(&self.directory).is_ok(), ..Runs::default() };
        let (mut seen, mut due) = (0, vec![(self.directory.clone(), Vec::<String>::new())]);
        while let Some((directory, path)) = due.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                seen += 1;
                if seen > Self::MOST_ENTRIES {
                    runs.has_more = true;
                    break;
                }
                // Of the link, not of what it leads to.
                let (Ok(about), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
                let path: Vec<String> = path.iter().cloned().chain([name]).collect();
                if about.is_dir() && path.len() < Self::MOST_LEVELS {
                    due.push((entry.path(), path));
                } else if about.is_dir() {
                    runs.has_more = true;
                } else if is_run(&entry.path(), &about) {
                    let (bytes, modified) = (about.len(), about.modified().ok());
                    runs.found.push(Run { name: path.join("/"), bytes, modified });
                }
            }
        }
        runs.found.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.name.cmp(&b.name)));
        runs
    }

    /// What has come since `cursor`. It never waits for more.
    ///
    /// # Errors
    /// [`FollowError`]; the cursor stays good, for when the file can be read again.
    pub fn read(&self, name: &str, cursor: Cursor) -> Result<Chunk, FollowError> {
        let missing = || FollowError::NoSuchRun { name: name.to_owned() };
        let path = self.path(name).ok_or_else(missing)?;
        let read = File::open(path).and_then(|file| follow::read(file, cursor, Self::MOST_BYTES));
        read.map_err(|source| {
            let is_gone = source.kind() == ErrorKind::NotFound;
            if is_gone { missing() } else { FollowError::Read { name: name.to_owned(), source } }
        })
    }

    /// The path of the run of this name: plain names under the directory, none of them a link.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let parts: Vec<&str> = name.split('/').collect();
        let is_plain = |part: &str| {
            let mut components = Path::new(part).components();
            matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == part)
        };
        if parts.len() > Self::MOST_LEVELS || !parts.iter().all(|part| is_plain(part)) {
            return None;
        }
        let mut path = self.directory.clone();
        let (last, directories) = parts.split_last()?;
        for part in directories {
            path.push(part);
            fs::symlink_metadata(&path).ok().filter(Metadata::is_dir)?;
        }
        path.push(last);
        let about = fs::symlink_metadata(&path).ok()?;
        is_run(&path, &about).then_some(path)
    }
}

fn is_run(path: &Path, about: &Metadata) -> bool {
    about.is_file() && path.extension().is_some_and(|extension| extension == "jsonl")
}
