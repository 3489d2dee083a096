//! Files of a store with sound checks around what no store would write, so that the checks hide nothing behind them.

use kasmina_rollback::{Entry, JOURNAL_VERSION};
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
        for _ in 0..choices.below(4) {
            entry(choices, &mut payload);
            count += 1;
        }
        if choices.below(8) == 7 {
            count = u32::from_le_bytes(choices.number());
        }
        let start = bytes.len();
        bytes.extend(b"KJF2");
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

/// An entry of any kind, or something like it.
fn entry(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let kind = choices.below(Entry::NAMES.len() + 1) as u8;
    out.push(kind);
    if choices.below(4) > 0 && kind < 3 {
        let text = choices.bytes(8);
        out.push(text.len() as u8);
        out.extend_from_slice(text);
    }
    out.extend_from_slice(choices.bytes(40));
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
