//! Where promises and decisions are kept.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{Kept, Round};

/// Keeps what a worker must not forget. A keeper that loses a promise may cost the group its agreement; one that fails
/// costs it a worker.
pub trait Keeper: Send {
    /// Makes it durable, and returns after that.
    ///
    /// # Errors
    /// If it is not known to be durable. The worker then says nothing any more.
    fn keep(&mut self, kept: &Kept) -> io::Result<()>;

    /// All that was kept: the last promises, and as many of the newest decisions as are still there.
    ///
    /// # Errors
    /// If it cannot be read.
    fn kept(&self) -> io::Result<Vec<Kept>>;
}

impl<K: Keeper + ?Sized> Keeper for Box<K> {
    fn keep(&mut self, kept: &Kept) -> io::Result<()> {
        (**self).keep(kept)
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        (**self).kept()
    }
}

/// The null object: keeps nothing, and says so, so that its worker never promises anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeeper;

impl Keeper for NoKeeper {
    fn keep(&mut self, _: &Kept) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "no keeper is wired"))
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        Ok(Vec::new())
    }
}

/// Keeps nothing beyond the process. For a worker whose name and key are used once: after a restart it comes as another
/// member, or not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryKeeper;

impl Keeper for MemoryKeeper {
    fn keep(&mut self, _: &Kept) -> io::Result<()> {
        Ok(())
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        Ok(Vec::new())
    }
}

/// Keeps files in a directory: `promises`, and `decision-ERA-STEP` for each decision. Each is written beside the old one,
/// synced and renamed.
#[derive(Clone, Debug)]
pub struct DirectoryKeeper {
    directory: PathBuf,
    decisions: usize,
}

const PROMISES: &str = "promises";
const DECISION: &str = "decision-";

impl DirectoryKeeper {
    /// Keeps the promises and this many decisions in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// If there is no such directory and none can be made.
    pub fn open(directory: impl Into<PathBuf>, decisions: usize) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, decisions })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.directory.join(format!("{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()
    }

    /// The decisions that are there, oldest first.
    fn rounds(&self) -> io::Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            rounds.extend(entry?.file_name().to_str().and_then(round));
        }
        rounds.sort_unstable();
        Ok(rounds)
    }
}

fn name(round: Round) -> String {
    format!("{DECISION}{}-{}", round.era, round.step)
}

fn round(name: &str) -> Option<Round> {
    let (era, step) = name.strip_prefix(DECISION)?.split_once('-')?;
    Some(Round { era: era.parse().ok()?, step: step.parse().ok()? })
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Keeper for DirectoryKeeper {
    fn keep(&mut self, kept: &Kept) -> io::Result<()> {
        match kept {
            Kept::Promises(bytes) => self.write(PROMISES, bytes),
            Kept::Decision { round, bytes } => {
                self.write(&name(*round), bytes)?;
                let rounds = self.rounds()?;
                for old in rounds.iter().take(rounds.len().saturating_sub(self.decisions)) {
                    fs::remove_file(self.directory.join(name(*old)))?;
                }
                Ok(())
            }
        }
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept: Vec<_> = read(&self.directory.join(PROMISES))?.map(Kept::Promises).into_iter().collect();
        for round in self.rounds()? {
            let bytes = read(&self.directory.join(name(round)))?;
            kept.extend(bytes.map(|bytes| Kept::Decision { round, bytes }));
        }
        Ok(kept)
    }
}
