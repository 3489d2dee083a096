//! One life of the process that is killed.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use super::protocol::Line;
use crate::{failure::Failure, stopwatch::Stopwatch};

/// The process must have said its first line by then, and each later one so long after the one before it.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// So long after it was started.
    AfterStart(Duration),
    /// So long after it has said that it has recovered, and so many lines more. Of a slow machine the lines are heard later, and as
    /// much has happened.
    AfterLines(usize, Duration),
}

/// What was heard of the process.
pub(super) struct Life {
    /// All whole lines.
    pub(super) lines: Vec<Line>,
    /// How long it took to recover, where that was waited for.
    pub(super) recovery: Option<Duration>,
}

/// Starts a process on `directory`, kills it at `moment` with SIGKILL, and reads what it has said.
pub(super) fn live(directory: &Path, seed: u64, moment: Moment) -> Result<Life, Failure> {
    let program = std::env::current_exe().map_err(|source| Failure::Start { program: "xtask".into(), source })?;
    let mut command = Command::new(program);
    command.arg("crash-child").arg("--dir").arg(directory).args(["--seed", &seed.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let watch = Stopwatch::start();
    let mut child = command.spawn().map_err(|source| Failure::Start { program: "crash-child".into(), source })?;
    let (sender, heard) = mpsc::channel();
    let reader = child.stdout.take().map(|out| thread::spawn(move || listen(out, &sender)));

    let mut lines = Vec::new();
    let mut recovery = None;
    match moment {
        Moment::AfterStart(delay) => thread::sleep(delay),
        Moment::AfterLines(more, delay) => {
            for _ in 0..=more {
                // A process that ends is found below.
                let Ok(line) = heard.recv_timeout(PATIENCE) else { break };
                recovery = recovery.or_else(|| Some(watch.elapsed()));
                lines.push(line);
            }
            if recovery.is_none() {
                lines.push(Line::Error { what: "the process said nothing".to_owned() });
            }
            thread::sleep(delay);
        }
    }
    let ended = end(&mut child).map_err(|source| Failure::Start { program: "crash-child".into(), source })?;
    // It ends with the process, which holds the other end of the pipe.
    let read = reader.is_none_or(|reader| reader.join().is_ok());
    lines.extend(drain(&heard));
    if !read {
        lines.push(Line::Error { what: "what the process said could not be read".to_owned() });
    }
    let explained = lines.iter().any(|line| matches!(line, Line::Error { .. }));
    if let Some(status) = ended.filter(|_| !explained) {
        lines.push(Line::Error { what: format!("the process ended by itself ({status})") });
    }
    Ok(Life { lines, recovery })
}

/// Kills the process; its status where it had ended before.
fn end(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let ended = child.try_wait()?;
    if ended.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(ended)
}

fn listen(out: impl Read, sender: &Sender<Line>) {
    let mut out = BufReader::new(out);
    let mut text = Vec::new();
    // Half a line at the end has been said to nobody.
    while out.read_until(b'\n', &mut text).is_ok() && text.ends_with(b"\n") {
        let line = serde_json::from_slice(&text)
            .unwrap_or_else(|error| Line::Error { what: format!("{error} in {:?}", String::from_utf8_lossy(&text)) });
        if sender.send(line).is_err() {
            return;
        }
        text.clear();
    }
}

fn drain(heard: &Receiver<Line>) -> Vec<Line> {
    heard.try_iter().collect()
}
