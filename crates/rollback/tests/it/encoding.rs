//! Every entry survives its encoding; no bytes make the decoder panic.

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};
use kasmina_rollback::{Digest, Entry, RecordError, doubles::conformance::one_of_each};
use proptest::prelude::*;

#[test]
fn entry_of_newer_version_is_refused_by_number() {
    let unknown = Entry::NAMES.len() as u8;
    let error = RecordError::UnknownEntry { number: unknown.into(), newest: u64::from(unknown) - 1 };
    assert_eq!(Entry::decode(&[unknown, 1, 2, 3]), Err(error));
}

#[test]
fn invalid_identifier_is_refused() {
    let mut bytes = Entry::RolledBack { seed_id: Some(SeedId::new("seed").unwrap()), epoch: 1 }.encode().unwrap();
    let at = bytes.iter().position(|byte| *byte == b's').unwrap();
    bytes[at] = b' ';
    assert!(matches!(Entry::decode(&bytes), Err(RecordError::Malformed { .. })));
}

proptest! {
    #[test]
    fn entry_survives_encoding(entry in entry()) {
        prop_assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
    }

    #[test]
    fn any_bytes_are_an_entry_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
        }
    }

    #[test]
    fn damaged_entry_is_an_entry_or_an_error(entry in entry(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = entry.encode().unwrap();
        let at = at.index(bytes.len());
        prop_assert!(Entry::decode(&bytes[..at]).is_err(), "a cut entry");
        bytes[at] ^= 1 << bit;
        let _ = Entry::decode(&bytes);
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let command = || "[!-~]{1,128}".prop_map(|text| CommandId::new(text).unwrap());
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let blobs = || prop::collection::vec(any::<u8>().prop_map(|byte| Digest::of(&[byte])), 0..4);
    let stage = || (0..12_i32).prop_map(|number| SeedLifecycleStage::try_from(number).unwrap());
    let gate = prop::option::of((0..7_i32).prop_map(|number| SeedLifecycleGate::try_from(number).unwrap()));
    let time = || any::<i64>().prop_map(UnixTime::from_nanos);
    let moved = ("[!-~]{1,128}", stage(), stage(), gate, time());
    prop_oneof![
        prop::sample::select(one_of_each()),
        (command(), time()).prop_map(|(command_id, issued_at)| Entry::NonceSeen { command_id, issued_at }),
        (command(), bytes()).prop_map(|(command_id, wire)| Entry::Accepted { command_id, wire }),
        (any::<String>(), any::<String>()).prop_map(|(command_id, reason)| Entry::Refused { command_id, reason }),
        moved.prop_map(|(seed_id, from, to, gate, at)| {
            Entry::Moved { seed_id: SeedId::new(seed_id).unwrap(), from, to, gate, at }
        }),
        (bytes(), blobs()).prop_map(|(bytes, blobs)| Entry::Delta { bytes, blobs }),
        (any::<u64>(), any::<u64>(), bytes(), blobs()).prop_map(|(epoch, step, bytes, blobs)| Entry::Epoch {
            epoch,
            step,
            bytes,
            blobs
        }),
        bytes().prop_map(|packet| Entry::Telemetry { packet }),
    ]
}
