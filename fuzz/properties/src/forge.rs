//! Files of a store with sound checks around what no store would write, so that the checks hide nothing behind them.

use kasmina_rollback::{CHECKPOINT_VERSION, JOURNAL_VERSION};
use sha2::{Digest, Sha256};

use crate::choices::Choices;

/// A journal of one to four batches.
pub(crate) fn journal(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut next = choices.sequence();
    let mut bytes = b"KASMJRNL".to_vec();
    bytes.extend(version(choices, JOURNAL_VERSION));
    bytes.extend([0; 4]);
    bytes.extend(next.to_le_bytes());
    check(&mut bytes, 0);
    for _ in 0..=choices.below(4) {
        let first = if choices.below(8) == 7 { choices.sequence() } else { next };
        let (mut payload, mut count) = (Vec::new(), 0);
        for offset in 0..choices.below(4) as u64 {
            let record = record(choices, first.wrapping_add(offset));
            delimited(&mut payload, 1, &record);
            count += 1;
        }
        if choices.below(8) == 7 {
            count = u32::from_le_bytes(choices.number());
        }
        let start = bytes.len();
        bytes.extend(b"KJF1");
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(first.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        check(&mut bytes, start);
        bytes.extend(payload);
        let digest = Sha256::digest(&bytes[start..]);
        bytes.extend(digest);
        next = first.wrapping_add(count.into());
    }
    bytes
}

/// A checkpoint's file that names itself `id`.
pub(crate) fn checkpoint(choices: &mut Choices<'_>, id: &str) -> Vec<u8> {
    let mut header = Vec::new();
    delimited(&mut header, 1, id.as_bytes());
    header.extend(choices.bytes(24));
    let mut blobs = Vec::new();
    for _ in 0..choices.below(4) {
        let (mut blob, content) = (Vec::new(), choices.bytes(16));
        delimited(&mut blob, 1, choices.pick(&["a", "b", ""]).unwrap_or_default().as_bytes());
        blob.push(2 << 3);
        varint(&mut blob, content.len() as u64);
        delimited(&mut blob, 3, &Sha256::digest(content));
        delimited(&mut header, 4, &blob);
        blobs.extend_from_slice(content);
    }
    let mut bytes = b"KASMCKPT".to_vec();
    bytes.extend(version(choices, CHECKPOINT_VERSION));
    bytes.extend((header.len() as u32).to_le_bytes());
    let digest = Sha256::new().chain_update(&bytes).chain_update(&header).finalize();
    bytes.extend(digest);
    bytes.extend(header);
    bytes.extend(blobs);
    bytes.extend(choices.bytes(4));
    bytes
}

/// A record of any kind, or something like it.
fn record(choices: &mut Choices<'_>, sequence: u64) -> Vec<u8> {
    let sequence = if choices.below(8) == 7 { choices.sequence() } else { sequence };
    let mut record = vec![1 << 3, 1, 2 << 3];
    varint(&mut record, sequence);
    let kind = 3 + choices.below(6) as u64;
    let mut entry = Vec::new();
    if kind == 7 {
        delimited(&mut entry, 1, choices.bytes(8));
    } else {
        delimited(&mut entry, 1, b"id");
        entry.extend(choices.bytes(8));
    }
    delimited(&mut record, kind, &entry);
    record
}

fn version(choices: &mut Choices<'_>, current: u32) -> [u8; 4] {
    let other = choices.below(16) == 15;
    if other { choices.number() } else { current.to_le_bytes() }
}

/// Adds the first 8 bytes of the SHA-256 of what begins at `start`.
fn check(bytes: &mut Vec<u8>, start: usize) {
    let digest = Sha256::digest(&bytes[start..]);
    bytes.extend_from_slice(&digest[..8]);
}

fn delimited(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
