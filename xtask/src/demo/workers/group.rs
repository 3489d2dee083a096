//! The workers' processes, as whoever starts them sees them.

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use super::{Meet, Said};

/// The processes. Dropping this kills those that run.
pub(super) struct Group {
    address: String,
    directory: PathBuf,
    random_seed: u64,
    children: Vec<Option<Child>>,
    said: (Sender<Said>, Receiver<Said>),
}

impl Group {
    pub(super) fn start(
        address: &str,
        directory: PathBuf,
        random_seed: u64,
        workers: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let children = (0..workers).map(|_| None).collect();
        let mut group = Self { address: address.to_owned(), directory, random_seed, children, said: mpsc::channel() };
        (0..workers).try_for_each(|rank| group.start_one(rank))?;
        Ok(group)
    }

    pub(super) const fn workers(&self) -> usize {
        self.children.len()
    }

    fn start_one(&mut self, rank: usize) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["demo-worker", "--bus", &self.address]).arg("--dir").arg(&self.directory);
        command.args(["--seed", &self.random_seed.to_string(), "--rank", &rank.to_string()]);
        command.args(["--workers", &self.workers().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(out) = child.stdout.take() {
            let sender = self.said.0.clone();
            thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                // It ends with the process, or when nobody listens any more.
                for said in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                    if sender.send(said).is_err() {
                        return;
                    }
                }
            });
        }
        self.children[rank] = Some(child);
        Ok(())
    }

    /// SIGKILL, and a new process in its place.
    pub(super) fn restart(&mut self, rank: usize) -> Result<(), Box<dyn Error>> {
        if let Some(mut child) = self.children[rank].take() {
            child.kill()?;
            child.wait()?;
        }
        self.start_one(rank)
    }

    pub(super) fn tell_all(&mut self, meet: Meet) -> Result<(), Box<dyn Error>> {
        let mut line = serde_json::to_string(&meet)?;
        line.push('\n');
        for child in self.children.iter_mut().flatten() {
            if let Some(input) = &mut child.stdin {
                input.write_all(line.as_bytes())?;
                input.flush()?;
            }
        }
        Ok(())
    }

    /// What a worker says next, if one says something in time.
    pub(super) fn hear(&self, at_most: Duration) -> Option<Said> {
        self.said.1.recv_timeout(at_most).ok()
    }

    /// # Errors
    /// A worker has failed.
    pub(super) fn check(&mut self) -> Result<(), Box<dyn Error>> {
        for (rank, child) in self.children.iter_mut().enumerate() {
            let Some(child) = child else { continue };
            if let Some(status) = child.try_wait()?
                && !status.success()
            {
                return Err(format!("worker {rank} has ended by itself ({status})").into());
            }
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
