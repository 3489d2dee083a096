//! How many entries wait for the slowest group of a stream.

use redis::{Cmd, Value, cmd};

use super::reply::{array, bytes, count};
use crate::{Stream, StreamNames};

/// The backlogs that decide about overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlogs {
    pub(super) normal: u64,
    pub(super) emergency: u64,
}

/// What to ask for.
pub(super) fn questions(names: &StreamNames) -> Vec<Cmd> {
    let about = |stream| {
        let name = names.of(stream);
        let (mut groups, mut length) = (cmd("XINFO"), cmd("XLEN"));
        groups.arg("GROUPS").arg(name);
        length.arg(name);
        [groups, length]
    };
    about(Stream::Normal).into_iter().chain(about(Stream::Emergency)).collect()
}

/// Reads the answers. What cannot be read counts as no backlog: a stream that does not exist, or a user that may not
/// ask.
pub(super) fn read(answers: Vec<Value>) -> Backlogs {
    let mut answers = answers.into_iter();
    let mut backlog = || {
        let (groups, length) = (answers.next()?, answers.next()?);
        let length = count(&length)?;
        array(groups)?.into_iter().map(|group| of_group(group, length)).max().flatten()
    };
    Backlogs { normal: backlog().unwrap_or(0), emergency: backlog().unwrap_or(0) }
}

/// What a group has not read, and what its consumers have not acknowledged. After a deletion the server does not know
/// the first, and says nil; it is at most the whole stream.
fn of_group(group: Value, length: u64) -> Option<u64> {
    let mut facts = array(group)?.into_iter();
    let (mut pending, mut lag) = (0, length);
    while let (Some(name), Some(value)) = (facts.next(), facts.next()) {
        match bytes(name)?.as_slice() {
            b"pending" => pending = count(&value)?,
            b"lag" => lag = count(&value).unwrap_or(length),
            _ => {}
        }
    }
    Some(pending.saturating_add(lag))
}
