//! Look at a run while it goes.
//!
//! A run that has a `JsonLinesSink` writes its telemetry as lines of JSON. A [`Follower`] finds such files under a directory and reads
//! what is new in them; it never waits, and it keeps no state, so a reader goes on after a restart of the run, of the server or of
//! itself. A [`Server`] serves one page on 127.0.0.1 that draws the lines, for as long as it lives.
//!
//! | what happens to a file | what the reader gets |
//! |---|---|
//! | it grows | the new whole lines |
//! | its last line is not finished | the line, once it is |
//! | it is shorter than before, or begins otherwise | everything from its start, and [`Chunk::restarted`] |
//! | it has a line of more than [`Follower::MOST_BYTES`] | the other lines, and [`Chunk::oversized`] |
//! | it is not there, or its directory is not | [`FollowError::NoSuchRun`], and the lines once it is there |
//!
//! Lines are not parsed here: the page counts and shows those that are not telemetry.
//!
//! ```
//! use std::{
//!     fs::File,
//!     io::{Read, Write},
//!     net::TcpStream,
//! };
//!
//! use kasmina_leyline::{TrainingRunId, UnixTime};
//! use kasmina_telemetry::{Assembler, JsonLinesSink, Metric, Sink, names};
//! use kasmina_watch::{Cursor, Follower, Server};
//!
//! // A run writes a step.
//! let directory = tempfile::tempdir()?;
//! let mut sink = JsonLinesSink::new(File::create(directory.path().join("telemetry.jsonl"))?);
//! let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7")?, 64);
//! assembler.metric(None, Metric::new(names::HOST_LOSS, 0.25));
//! for packet in assembler.assemble(1, UnixTime::from_millis(1_700_000_000_000)) {
//!     sink.deliver(&packet.packet)?;
//! }
//!
//! // Followed by a program.
//! let follower = Follower::new(directory.path());
//! let name = &follower.runs().found[0].name;
//! let chunk = follower.read(name, Cursor::default())?;
//! assert!(chunk.lines.contains("kasmina.host.loss"));
//! assert_eq!(follower.read(name, chunk.next)?.lines, "");
//!
//! // Followed by a browser.
//! let server = Server::start(follower, 0)?;
//! let mut client = TcpStream::connect(server.address())?;
//! write!(client, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address())?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod follow;
mod page;
mod runs;
mod server;

pub use follow::{Chunk, Cursor, FollowError, InvalidCursor};
pub use runs::{Follower, Run, Runs};
pub use server::{Server, ServerError};
