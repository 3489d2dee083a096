//! The checkpoints' files.
//!
//! One file a checkpoint: magic (8), format version (4), length of the header (4), the SHA-256 of those 16 bytes and the
//! header (32), the header (protobuf), then the blobs one after the other. Numbers are little-endian. All but the header
//! keeps its place in all versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use kasmina_leyline::UnixTime;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{
    Checkpoint, CheckpointId, CheckpointSummary, StoreError,
    files::{create_directory, failed, publish, stage, sync_directory},
};

/// The version of a checkpoint's format that is written here, and the newest that is read.
pub const CHECKPOINT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"KASMCKPT";
const PREFIX_BYTES: usize = 48;
const CHUNK_BYTES: usize = 64 << 10;
const EXTENSION: &str = "ckpt";

#[derive(Clone, PartialEq, Message)]
struct HeaderMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(sint64, tag = "2")]
    at_unix_ns: i64,
    #[prost(uint64, tag = "3")]
    sequence: u64,
    #[prost(message, repeated, tag = "4")]
    blobs: Vec<BlobMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    length: u64,
    #[prost(bytes = "vec", tag = "3")]
    sha256: Vec<u8>,
}

/// A directory of checkpoints.
#[derive(Debug)]
pub(crate) struct Vault {
    directory: PathBuf,
}

impl Vault {
    /// The checkpoints below `directory`. Removes what an interrupted save left over.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, StoreError> {
        create_directory(&directory)?;
        for path in entries(&directory)? {
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(Self { directory })
    }

    /// Reads only; changes nothing.
    pub(crate) fn look(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let path = self.path(&checkpoint.id);
        if path.try_exists().map_err(failed("look for", &path))? {
            return Err(StoreError::CheckpointExists { id: checkpoint.id.clone() });
        }
        let blobs = checkpoint.blobs.iter().map(|(name, bytes)| BlobMessage {
            name: name.clone(),
            length: bytes.len() as u64,
            sha256: Sha256::digest(bytes).to_vec(),
        });
        let header = HeaderMessage {
            id: checkpoint.id.as_str().into(),
            at_unix_ns: checkpoint.at.as_nanos(),
            sequence: checkpoint.sequence,
            blobs: blobs.collect(),
        }
        .encode_to_vec();
        let (limit, got) = (u32::MAX.into(), header.len() as u64);
        let length =
            u32::try_from(got).map_err(|_| StoreError::TooLarge { what: "the checkpoint's header", limit, got })?;
        let mut prefix = MAGIC.to_vec();
        prefix.extend(CHECKPOINT_VERSION.to_le_bytes());
        prefix.extend(length.to_le_bytes());
        let digest = Sha256::new().chain_update(&prefix).chain_update(&header).finalize();
        let mut parts: Vec<&[u8]> = vec![&prefix, &digest, &header];
        parts.extend(checkpoint.blobs.values().map(Vec::as_slice));
        let temporary = path.with_extension("new"); // takes the place of `.ckpt`
        stage(&temporary, &parts)?;
        publish(&temporary, &path)
    }

    pub(crate) fn load(&self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        let path = self.path(id);
        let mut file = File::open(&path).map_err(|error| match error.kind() == ErrorKind::NotFound {
            true => StoreError::UnknownCheckpoint { id: id.clone() },
            false => failed("open", &path)(error),
        })?;
        let Header { message, mut offset, .. } = read_header(&mut file, &path, id)?;
        let mut blobs = BTreeMap::new();
        for BlobMessage { name, length, sha256 } in message.blobs {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            let mut digest = Sha256::new();
            // Hashed while it is still in the processor's cache.
            for chunk in bytes.chunks_mut(CHUNK_BYTES) {
                file.read_exact(chunk).map_err(failed("read", &path))?;
                digest.update(chunk);
            }
            let got = digest.finalize();
            if *got != *sha256 {
                let (expected, got) = (hex(&sha256), hex(&got));
                return Err(StoreError::CorruptBlob { path, blob: name, offset, expected, got });
            }
            offset += length;
            blobs.insert(name, bytes);
        }
        let at = UnixTime::from_nanos(message.at_unix_ns);
        Ok(Checkpoint { id: id.clone(), at, sequence: message.sequence, blobs })
    }

    pub(crate) fn list(&self) -> Result<Vec<CheckpointSummary>, StoreError> {
        let mut found = Vec::new();
        for path in entries(&self.directory)? {
            let named = path.extension().is_some_and(|extension| extension == EXTENSION);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| named);
            let Some(id) = stem.and_then(|stem| CheckpointId::new(stem).ok()) else {
                continue;
            };
            let mut file = File::open(&path).map_err(failed("open", &path))?;
            let bytes = file.metadata().map_err(failed("read", &path))?.len();
            found.push(match read_header(&mut file, &path, &id) {
                Ok(Header { message, .. }) => {
                    let at = UnixTime::from_nanos(message.at_unix_ns);
                    CheckpointSummary { id, at, sequence: message.sequence, bytes, damage: None }
                }
                Err(damage) => {
                    CheckpointSummary { id, at: UnixTime::default(), sequence: 0, bytes, damage: Some(damage) }
                }
            });
        }
        found.sort_by(|a, b| (a.sequence, a.at, &a.id).cmp(&(b.sequence, b.at, &b.id)));
        Ok(found)
    }

    pub(crate) fn retain(
        &self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError> {
        let (kept, dropped): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(keep);
        for summary in &dropped {
            let path = self.path(&summary.id);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        if !dropped.is_empty() {
            sync_directory(&self.directory)?;
        }
        Ok(kept)
    }

    fn path(&self, id: &CheckpointId) -> PathBuf {
        // Not `with_extension`: an id may hold dots.
        self.directory.join(format!("{id}.{EXTENSION}"))
    }
}

/// The paths in a directory; none where it does not exist.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", directory)(error)),
    };
    listing.map(|entry| entry.map(|entry| entry.path()).map_err(failed("list", directory))).collect()
}

struct Header {
    message: HeaderMessage,
    /// Where the first blob begins.
    offset: u64,
}

/// Reads and verifies all but the blobs, and that the file is as long as the blobs need. Nothing larger than the file is
/// ever allocated.
fn read_header(file: &mut File, path: &Path, id: &CheckpointId) -> Result<Header, StoreError> {
    let there = file.metadata().map_err(failed("read", path))?.len();
    let truncated = |expected| StoreError::Truncated { path: path.to_owned(), offset: there, expected };
    let corrupt = |offset, detail| StoreError::Corrupt { path: path.to_owned(), offset, detail };
    if there < PREFIX_BYTES as u64 {
        return Err(truncated(PREFIX_BYTES as u64));
    }
    let mut prefix = [0; PREFIX_BYTES];
    file.read_exact(&mut prefix).map_err(failed("read", path))?;
    let (fixed, digest) = prefix.split_at(16);
    if fixed[..8] != MAGIC {
        return Err(StoreError::NotAStore { path: path.to_owned(), detail: "it is not a checkpoint".to_owned() });
    }
    let length = u64::from(u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]));
    let blobs_at = PREFIX_BYTES as u64 + length;
    if there < blobs_at {
        return Err(truncated(blobs_at));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(failed("read", path))?;
    if *digest != *Sha256::new().chain_update(fixed).chain_update(&header).finalize() {
        return Err(corrupt(0, "the SHA-256 of the header"));
    }
    let got = u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
    if got != CHECKPOINT_VERSION {
        return Err(StoreError::NewerVersion { path: path.to_owned(), newest: CHECKPOINT_VERSION, got });
    }
    let message =
        HeaderMessage::decode(header.as_slice()).map_err(|_| corrupt(PREFIX_BYTES as u64, "the header's encoding"))?;
    if message.id != id.as_str() {
        return Err(corrupt(PREFIX_BYTES as u64, "the checkpoint's name: the file was renamed"));
    }
    let names: BTreeSet<_> = message.blobs.iter().map(|blob| &blob.name).collect();
    if names.len() < message.blobs.len() {
        return Err(corrupt(PREFIX_BYTES as u64, "the blobs' names: one stands twice"));
    }
    let expected = message.blobs.iter().fold(blobs_at, |end, blob| end.saturating_add(blob.length));
    if there < expected {
        return Err(truncated(expected));
    }
    if there > expected {
        return Err(corrupt(expected, "the length: something follows the last blob"));
    }
    Ok(Header { message, offset: blobs_at })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
