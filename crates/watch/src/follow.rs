//! Reading what is new in a file that another process writes.

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{self, Read, Seek, SeekFrom},
    num::ParseIntError,
    str::FromStr,
};

use crate::Follower;

/// The place of a reader in a file. The default is the start.
///
/// As text, for a reader that is another program: the offset, how the file began, and whether the offset is inside of a line that is
/// left out.
///
/// ```
/// use kasmina_watch::Cursor;
///
/// let start = Cursor::default();
/// assert_eq!(start.to_string(), "0-0-0");
/// assert_eq!("0-0-0".parse(), Ok(start));
/// assert!("12".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    offset: u64,
    /// A hash of how the file began when it was read: another file of this name begins otherwise, because each packet has a time.
    beginning: u64,
    inside: bool,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:x}-{}", self.offset, self.beginning, u8::from(self.inside))
    }
}

/// Text that is not a [`Cursor`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: three numbers with hyphens between them")]
pub struct InvalidCursor;

impl From<ParseIntError> for InvalidCursor {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.split('-');
        let (Some(offset), Some(beginning), Some(inside), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidCursor);
        };
        let inside = match inside {
            "0" => false,
            "1" => true,
            _other => return Err(InvalidCursor),
        };
        Ok(Self { offset: offset.parse()?, beginning: u64::from_str_radix(beginning, 16)?, inside })
    }
}

/// What is new in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// Whole lines, each with its line feed; up to [`Follower::MOST_BYTES`]. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub lines: String,
    /// From where to go on reading.
    pub next: Cursor,
    /// The bytes of the file after `next`. If there are none, or not a whole line, ask again later.
    pub behind: u64,
    /// The file is not the one that was read before, or was cut: what was read of it does not hold any more, and `lines` are its first.
    pub restarted: bool,
    /// Lines that begin here, are longer than [`Follower::MOST_BYTES`], and are left out.
    pub oversized: u32,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum FollowError {
    /// It was removed, has not begun, or the name is none that [`Follower::runs`] returns.
    #[error("there is no run {name:?}")]
    NoSuchRun { name: String },
    /// The operating system refuses.
    #[error("cannot read run {name:?}: {source}")]
    Read { name: String, source: io::Error },
}

/// How many bytes at most tell one file from another. Our choice: more than the first packet of a run has before its time.
const BEGINNING: u64 = 4 << 10;

/// Reads from `cursor`. `most` bounds both what is read and the length of a line.
pub(crate) fn read(mut file: File, cursor: Cursor, most: usize) -> io::Result<Chunk> {
    let size = file.metadata()?.len();
    let beginning = beginning(&mut file)?;
    let mut at = match beginning {
        Some(beginning) if cursor.beginning == beginning && cursor.offset <= size => cursor,
        Some(beginning) => Cursor { beginning, ..Cursor::default() },
        None => Cursor::default(),
    };
    let restarted = cursor != Cursor::default() && at != cursor;
    let mut chunk = Chunk { lines: String::new(), next: at, behind: 0, restarted, oversized: 0 };
    if beginning.is_none() {
        return Ok(Chunk { behind: size, ..chunk });
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at.offset))?;
    file.take(most as u64).read_to_end(&mut bytes)?;
    let filled = bytes.len() == most;
    let mut rest = &bytes[..];
    if at.inside {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let skipped = end.map_or(rest.len(), |end| end + 1);
        at.inside = end.is_none();
        at.offset += skipped as u64;
        rest = &rest[skipped..];
    }
    if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
        chunk.lines = String::from_utf8_lossy(&rest[..=end]).into_owned();
        at.offset += end as u64 + 1;
    } else if filled && rest.len() == most {
        chunk.oversized = 1;
        at.offset += most as u64;
        at.inside = true;
    }
    Ok(Chunk { next: at, behind: size.saturating_sub(at.offset), ..chunk })
}

/// A hash of the first line, or of so many bytes of it. None if the line is not finished.
fn beginning(file: &mut File) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    file.take(BEGINNING).read_to_end(&mut bytes)?;
    let line = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => &bytes[..=end],
        None if bytes.len() as u64 == BEGINNING => &bytes[..],
        None => return Ok(None),
    };
    let mut hasher = DefaultHasher::new();
    hasher.write(line);
    // 0 is for a file that has not been read.
    Ok(Some(hasher.finish().max(1)))
}

impl Follower {
    /// The most bytes that one call of [`read`](Self::read) returns, and that a line may have: 1 MiB. Our choice: a hundred times the longest
    /// packet of the demo, and a browser takes it in within a frame or two.
    pub const MOST_BYTES: usize = 1 << 20;
}
