//! The bytes of a journal: a header, then one frame for each batch. `docs/DURABILITY.md` is the normative text.

use sha2::{Digest, Sha256};

use crate::{Entry, Record, StoreError};

/// The version of the journal's format that is written here, and the only one that is read.
pub const JOURNAL_VERSION: u32 = 2;

/// The largest batch, encoded: 64 MiB. Our choice: far above any batch of commands, far below what hurts to hold twice.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const HEAD_BYTES: usize = 28;
pub(crate) const DIGEST_BYTES: usize = 32;
pub(crate) const MAGIC: [u8; 8] = *b"KASMJRNL";
pub(crate) const MARK: [u8; 4] = *b"KJF2";

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The bytes of the payload.
    pub(crate) payload: u64,
    /// The sequence number of the first record.
    pub(crate) first: u64,
    /// How many records.
    pub(crate) count: u32,
}

impl Head {
    /// Reads a head; `None` if its check does not agree.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        if bytes[..4] != MARK || bytes[20..] != check(&bytes[..20]) {
            return None;
        }
        let (payload, first) = (number(&bytes[4..8]), number(&bytes[8..16]));
        Some(Self { payload, first, count: number(&bytes[16..20]) as u32 })
    }

    /// The bytes of the whole frame.
    pub(crate) const fn frame_bytes(self) -> u64 {
        (HEAD_BYTES + DIGEST_BYTES) as u64 + self.payload
    }
}

/// A batch as it lies in the file.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) head: Head,
    /// Where it begins.
    pub(crate) offset: u64,
    /// Head, payload and digest.
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// The sequence number after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.head.first.saturating_add(self.head.count.into())
    }

    /// Its records one by one; ends with the first that cannot be read.
    pub(crate) fn records(&self) -> impl Iterator<Item = Result<Record, Unreadable>> + '_ {
        let mut rest = self.bytes.get(HEAD_BYTES..self.bytes.len() - DIGEST_BYTES).unwrap_or_default();
        let (mut sequence, end) = (self.head.first, self.end());
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || sequence == end && rest.is_empty() {
                return None;
            }
            if sequence == end {
                failed = true;
                return Some(Err(Unreadable::Surplus));
            }
            match Entry::decode_first(rest) {
                Ok((entry, after)) => {
                    rest = after;
                    sequence += 1;
                    Some(Ok(Record { sequence: sequence - 1, entry }))
                }
                Err(source) => {
                    failed = true;
                    Some(Err(Unreadable::Record { sequence, source }))
                }
            }
        })
    }
}

/// Why a sound frame does not give its records.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Record {
        sequence: u64,
        source: crate::RecordError,
    },
    /// Bytes follow the last record.
    Surplus,
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

/// A frame around a batch. The entries are encoded in place: their bytes are copied once.
pub(crate) fn encode_frame<'a>(
    first: u64,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Result<(Vec<u8>, u32), EncodeError> {
    let (mut frame, mut count) = (vec![0; HEAD_BYTES], 0_u32);
    for entry in entries {
        frame = entry.encode_to(frame).map_err(EncodeError::Record)?;
        count = count.saturating_add(1);
        if frame.len() - HEAD_BYTES > MAX_BATCH_BYTES {
            return Err(EncodeError::TooLarge((frame.len() - HEAD_BYTES) as u64));
        }
    }
    let payload = (frame.len() - HEAD_BYTES) as u32;
    frame[..4].copy_from_slice(&MARK);
    frame[4..8].copy_from_slice(&payload.to_le_bytes());
    frame[8..16].copy_from_slice(&first.to_le_bytes());
    frame[16..20].copy_from_slice(&count.to_le_bytes());
    let check = check(&frame[..20]);
    frame[20..HEAD_BYTES].copy_from_slice(&check);
    let digest = Sha256::digest(&frame);
    frame.extend(digest);
    Ok((frame, count))
}

/// Why a batch cannot be written.
#[derive(Debug)]
pub(crate) enum EncodeError {
    TooLarge(u64),
    Record(crate::RecordError),
}

impl EncodeError {
    pub(crate) fn into_store_error(self, path: std::path::PathBuf, offset: u64, sequence: u64) -> StoreError {
        match self {
            Self::TooLarge(got) => StoreError::TooLarge { what: "the batch", limit: MAX_BATCH_BYTES as u64, got },
            Self::Record(source) => StoreError::Unreadable { path, offset, sequence, source },
        }
    }
}

/// Whether a whole frame has the digest that it ends with.
pub(crate) fn is_sound(frame: &[u8]) -> bool {
    frame.split_last_chunk::<DIGEST_BYTES>().is_some_and(|(content, digest)| *digest == *Sha256::digest(content))
}

/// The first 8 bytes of the SHA-256.
pub(crate) fn check(bytes: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&Sha256::digest(bytes)[..8]);
    check
}

/// At most 8 little-endian bytes as a number.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
