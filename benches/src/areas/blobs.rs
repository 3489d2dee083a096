//! Ten million parameters as blobs, beside plain files of as many bytes.

use std::{cell::RefCell, fs, hint::black_box};

use kasmina::rollback::{Blobs, Store};
use kasmina_measure::{Limit, Row, Side};
use sha2::{Digest, Sha256};

use super::journal::empty;
use crate::case::Case;

/// Ten million parameters in f32, in ten parts.
const PART: usize = 4_000_000;

pub(crate) fn cases(quick: bool) -> Vec<Case> {
    if quick {
        return Vec::new();
    }
    let row = Row::new("blobs/put_10m", "store 10M parameters as blobs").beside("hash and write them by hand");
    let put = Case::new(row.budget(Limit::RatioAtMost(1.5)), |meter| {
        let (directory, store) = empty();
        let (parts, plain) = (parts(), directory.path().join("plain"));
        let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let store = RefCell::new(store);
        let ours = Side::each(
            || store.borrow_mut().blobs.retain(&mut |_| false).expect("deleted"),
            |()| store.borrow_mut().blobs.put_all(black_box(&slices)).expect("stored"),
        );
        let by_hand = || {
            for part in &parts {
                black_box(Sha256::digest(part));
                let file = fs::File::create(&plain).expect("a file");
                std::io::Write::write_all(&mut &file, part).and_then(|()| file.sync_data()).expect("synced");
            }
        };
        meter.slow().pair(ours, Side::repeat(by_hand))
    });
    let row = Row::new("blobs/get_10m", "read and verify 10M parameters").beside("read and hash them by hand");
    let row = row.budget(Limit::RatioAtMost(1.5)).aim(Limit::AtMost(50e6));
    let get = Case::new(row, |meter| {
        let (directory, mut store) = empty();
        let (parts, plain) = (parts(), directory.path().join("plain"));
        let digests = store.blobs.put_all(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("stored");
        fs::write(&plain, &parts[0]).expect("written");
        let Store { blobs, .. } = &mut store;
        let ours = || {
            for digest in &digests {
                black_box(blobs.get(black_box(digest)).expect("read"));
            }
        };
        let by_hand = || (0..10).map(|_| Sha256::digest(fs::read(&plain).expect("read"))).collect::<Vec<_>>();
        meter.slow().pair(Side::repeat(ours), Side::repeat(by_hand))
    });
    vec![put, get]
}

fn parts() -> Vec<Vec<u8>> {
    (0..10_u8).map(|part| vec![part; PART]).collect()
}
