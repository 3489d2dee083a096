//! The four processes, as whoever starts them sees them.

use std::{
    error::Error,
    fmt,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use super::{story::Story, trainer::Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    Policy,
    Kernels,
    Telemetry,
    Trainer,
}

/// All of them. Dropping this kills those that run.
pub(super) struct Cast {
    address: String,
    directory: PathBuf,
    random_seed: u64,
    children: Vec<(Part, Child)>,
    said: (Sender<Place>, Receiver<Place>),
}

impl Cast {
    pub(super) fn new(address: &str, story: &Story) -> Result<Self, Box<dyn Error>> {
        let (address, directory) = (address.to_owned(), story.directory.clone());
        let mut cast =
            Self { address, directory, random_seed: story.random_seed, children: Vec::new(), said: mpsc::channel() };
        for part in [Part::Telemetry, Part::Kernels, Part::Policy, Part::Trainer] {
            cast.start(part)?;
        }
        Ok(cast)
    }

    fn start(&mut self, part: Part) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["demo-part", &part.to_string(), "--bus", &self.address]);
        command.arg("--dir").arg(&self.directory).args(["--seed", &self.random_seed.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(out) = child.stdout.take() {
            let sender = self.said.0.clone();
            thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                let places = lines.filter_map(|line| serde_json::from_str(&line).ok());
                // It ends with the process, or when nobody listens any more.
                for place in places {
                    if sender.send(place).is_err() {
                        return;
                    }
                }
            });
        }
        self.children.push((part, child));
        Ok(())
    }

    /// SIGKILL, and a new process in its place.
    pub(super) fn restart(&mut self, part: Part) -> Result<(), Box<dyn Error>> {
        if let Some(at) = self.children.iter().position(|(playing, _)| *playing == part) {
            let (_, mut child) = self.children.remove(at);
            child.kill()?;
            child.wait()?;
        }
        self.start(part)
    }

    /// What the trainer says next, if it says something in time.
    pub(super) fn hear(&self, at_most: Duration) -> Option<Place> {
        self.said.1.recv_timeout(at_most).ok()
    }

    /// Whether the trainer has done all its steps.
    ///
    /// # Errors
    /// A process has ended that should run.
    pub(super) fn trainer_has_ended(&mut self) -> Result<bool, Box<dyn Error>> {
        for (part, child) in &mut self.children {
            let Some(status) = child.try_wait()? else { continue };
            if *part == Part::Trainer && status.success() {
                return Ok(true);
            }
            return Err(format!("the {part} process has ended by itself ({status})").into());
        }
        Ok(false)
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "policy",
            Self::Kernels => "kernels",
            Self::Telemetry => "telemetry",
            Self::Trainer => "trainer",
        })
    }
}
