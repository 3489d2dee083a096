//! A Redis server that a test starts, stops, kills and starts again.
#![expect(clippy::expect_used, clippy::panic, reason = "a double for tests: it fails by panicking")]

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

const PROGRAM: &str = "redis-server";
/// If this is set, a missing server fails the test instead of skipping it.
const REQUIRED: &str = "KASMINA_REQUIRES_REDIS";
const A_MOMENT: Duration = Duration::from_millis(5);
/// Ten seconds of moments: starting a server takes a hundredth of it.
const PATIENCE: usize = 2_000;

/// A `redis-server` on a free port of this machine, with its files in a directory of its own. Dropping it kills it and
/// removes them.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts a server, without persistence unless the options ask for it: `&["--appendonly", "yes"]`.
    ///
    /// If there is none on this machine, it says so and returns `None`: skip the test. With the variable
    /// `KASMINA_REQUIRES_REDIS` in the environment, it panics instead.
    ///
    /// # Panics
    /// If a server that is installed does not start.
    #[must_use]
    pub fn start(options: &[&str]) -> Option<Self> {
        let is_installed = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok();
        if !is_installed {
            assert!(std::env::var_os(REQUIRED).is_none(), "{PROGRAM} is not installed, and {REQUIRED} is set");
            // `cargo xtask test` lists such lines.
            println!("SKIPPED: {}: {PROGRAM} is not installed", thread::current().name().unwrap_or("a test"));
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Another process may take the free port before the server does.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(&directory, port, &options);
            if is_up(&mut child, port) {
                return Some(Self { directory, port, options, child });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        panic!("{PROGRAM} {options:?} does not start:\n{log}");
    }

    /// Its address, for a client.
    #[must_use]
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL: what the server has not written is lost.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills it and starts it again on the same port, with the same files.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.directory, self.port, &self.options);
        assert!(is_up(&mut self.child, self.port), "{PROGRAM} does not start again");
    }

    /// SIGSTOP: the kernel goes on accepting connections and bytes, and nobody answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} was not sent");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("the port").port()
}

fn spawn(directory: &TempDir, port: u16, options: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join("log")).expect("a log");
    let errors = log.try_clone().expect("a log");
    let mut command = Command::new(PROGRAM);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(directory.path()).args(options);
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("a process")
}

/// Waits until the server answers, be it that it wants a password.
fn is_up(child: &mut Child, port: u16) -> bool {
    for _ in 0..PATIENCE {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        if let Some(answer) = ping(port)
            && !answer.starts_with(b"-LOADING")
        {
            return true;
        }
        thread::sleep(A_MOMENT);
    }
    false
}

fn ping(port: u16) -> Option<[u8; 8]> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 8];
    let read = stream.read(&mut answer[..]).ok()?;
    (read > 0).then_some(answer)
}
