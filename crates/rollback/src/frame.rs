//! The bytes of a journal.
//!
//! A header of 32 bytes: magic (8), format version (4), zero (4), the sequence number of the first record (8), and the
//! first 8 bytes of the SHA-256 of those 24. Then frames, one a batch: a head of 28 bytes (mark 4, length of the payload 4,
//! first sequence number 8, number of records 4, the first 8 bytes of the SHA-256 of those 20), the payload, and the
//! SHA-256 of head and payload. All numbers are little-endian. Magic, version and check keep their places in all versions.
//!
//! Because the length is checked by itself, a frame that the file is too short for is known to be torn. A frame that is
//! there in full with a wrong digest was changed later, unless its last bytes are zeros: then the system crashed before
//! the blocks were written, and nobody was told that they were.

use std::{io::Read, path::Path};

use sha2::{Digest, Sha256};

use crate::{StoreError, files::failed};

/// The version of the journal's format that is written here, and the newest that is read.
pub const JOURNAL_VERSION: u32 = 1;

/// The largest batch, encoded: 64 MiB. Our choice: far above any batch of commands, far below what hurts to hold twice.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

pub(crate) const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"KASMJRNL";
const MARK: [u8; 4] = *b"KJF1";
const HEAD_BYTES: usize = 28;
const DIGEST_BYTES: usize = 32;

/// A batch as it lies in the file.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Where it begins.
    pub(crate) offset: u64,
    /// The sequence number of its first record.
    pub(crate) first: u64,
    /// How many records it has.
    pub(crate) count: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The sequence number after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

/// The header of a journal whose next record is `first`.
pub(crate) fn encode_header(first: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&JOURNAL_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    let check = check(&header[..24]);
    header[24..].copy_from_slice(&check);
    header
}

/// A frame around an encoded batch.
pub(crate) fn encode_frame(first: u64, count: u32, payload: &[u8]) -> Result<Vec<u8>, StoreError> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_BATCH_BYTES);
    let length = length.ok_or(StoreError::TooLarge {
        what: "the batch",
        limit: MAX_BATCH_BYTES as u64,
        got: payload.len() as u64,
    })?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.len() + DIGEST_BYTES);
    frame.extend(MARK);
    frame.extend(length.to_le_bytes());
    frame.extend(first.to_le_bytes());
    frame.extend(count.to_le_bytes());
    frame.extend(check(&frame));
    frame.extend(payload);
    frame.extend(Sha256::digest(&frame));
    Ok(frame)
}

/// Reads a journal of `length` bytes frame by frame.
#[derive(Debug)]
pub(crate) struct Frames<'a, R> {
    reader: R,
    path: &'a Path,
    length: u64,
    offset: u64,
    first: u64,
    next: u64,
}

impl<'a, R: Read> Frames<'a, R> {
    /// Reads and verifies the header.
    pub(crate) fn new(mut reader: R, path: &'a Path, length: u64) -> Result<Self, StoreError> {
        let mut header = [0; HEADER_BYTES];
        let available = usize::try_from(length).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
        reader.read_exact(&mut header[..available]).map_err(failed("read", path))?;
        let magic = available.min(MAGIC.len());
        if header[..magic] != MAGIC[..magic] {
            return Err(StoreError::NotAStore { path: path.to_owned(), detail: "it is not a journal".to_owned() });
        }
        if available < HEADER_BYTES {
            return Err(StoreError::Truncated { path: path.to_owned(), offset: length, expected: HEADER_BYTES as u64 });
        }
        if header[24..] != check(&header[..24]) {
            return Err(StoreError::Corrupt { path: path.to_owned(), offset: 0, detail: "the header's check" });
        }
        let got = number(&header[8..12]) as u32;
        if got != JOURNAL_VERSION {
            return Err(StoreError::NewerVersion { path: path.to_owned(), newest: JOURNAL_VERSION, got });
        }
        let first = number(&header[16..24]);
        Ok(Self { reader, path, length, offset: HEADER_BYTES as u64, first, next: first })
    }

    /// The sequence number of the first record, read or not.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The sequence number after the last record that was read.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, verified, or `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::TornTail`], [`StoreError::Corrupt`] or [`StoreError::Gap`]; [`offset`](Self::offset) stays before it.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, StoreError> {
        let left = self.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        if left < HEAD_BYTES as u64 {
            return Err(self.torn());
        }
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head)?;
        if head[..4] != MARK || head[20..] != check(&head[..20]) {
            return Err(if self.rest_is_zero()? { self.torn() } else { self.corrupt("the check of a batch's head") });
        }
        let (length, first, count) = (number(&head[4..8]), number(&head[8..16]), number(&head[16..20]) as u32);
        let frame_bytes = (HEAD_BYTES + DIGEST_BYTES) as u64 + length;
        if frame_bytes > left {
            return Err(self.torn());
        }
        let mut payload = vec![0; length as usize];
        let mut digest = [0; DIGEST_BYTES];
        self.fill(&mut payload)?;
        self.fill(&mut digest)?;
        if digest != *Sha256::new().chain_update(head).chain_update(&payload).finalize() {
            let unwritten = frame_bytes == left && digest[DIGEST_BYTES - 8..] == [0; 8];
            return Err(if unwritten { self.torn() } else { self.corrupt("the SHA-256 of a batch") });
        }
        if first != self.next {
            let (path, offset) = (self.path.to_owned(), self.offset);
            return Err(StoreError::Gap { path, offset, expected: self.next, got: first });
        }
        if first.checked_add(count.into()).is_none() {
            return Err(self.corrupt("the numbers of a batch's records"));
        }
        let frame = Frame { offset: self.offset, first, count, payload };
        self.next = frame.end();
        self.offset += frame_bytes;
        Ok(Some(frame))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.reader.read_exact(buffer).map_err(failed("read", self.path))
    }

    fn rest_is_zero(&mut self) -> Result<bool, StoreError> {
        let mut buffer = [0; 4096];
        let mut left = self.length.saturating_sub(self.offset + HEAD_BYTES as u64);
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.fill(&mut buffer[..now])?;
            if buffer[..now].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            left -= now as u64;
        }
        Ok(true)
    }

    fn torn(&self) -> StoreError {
        let (path, bytes) = (self.path.to_owned(), self.length.saturating_sub(self.offset));
        StoreError::TornTail { path, offset: self.offset, bytes }
    }

    fn corrupt(&self, detail: &'static str) -> StoreError {
        StoreError::Corrupt { path: self.path.to_owned(), offset: self.offset, detail }
    }
}

fn check(bytes: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&Sha256::digest(bytes)[..8]);
    check
}

/// At most 8 little-endian bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
