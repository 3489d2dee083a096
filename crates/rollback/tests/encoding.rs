//! Every record survives its encoding; no bytes make the decoder panic.
#![allow(clippy::unwrap_used, reason = "a test")]

use kasmina_leyline::{
    CommandId, SeedId, UnixTime,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};
use kasmina_rollback::{CheckpointId, Entry, Record};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_record_survives(record in record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn damaged_records_are_a_record_or_an_error(record in record(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Record::decode(&bytes);
        let _ = Record::decode(&bytes[..at]);
    }
}

fn record() -> impl Strategy<Value = Record> {
    (any::<u64>(), entry()).prop_map(|(sequence, entry)| Record { sequence, entry })
}

fn entry() -> impl Strategy<Value = Entry> {
    let command = || "[!-~]{1,128}".prop_map(|text| CommandId::new(text).unwrap());
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let stage = || (0..12_i32).prop_map(|number| SeedLifecycleStage::try_from(number).unwrap());
    let gate = prop::option::of((0..7_i32).prop_map(|number| SeedLifecycleGate::try_from(number).unwrap()));
    let time = || any::<i64>().prop_map(UnixTime::from_nanos);
    prop_oneof![
        (command(), bytes()).prop_map(|(command_id, wire)| Entry::CommandAccepted { command_id, wire }),
        (any::<String>(), any::<String>())
            .prop_map(|(command_id, reason)| Entry::CommandRefused { command_id, reason }),
        ("[!-~]{1,128}", stage(), stage(), gate, time()).prop_map(|(seed_id, from, to, gate, at)| {
            Entry::Transition { seed_id: SeedId::new(seed_id).unwrap(), from, to, gate, at }
        }),
        (command(), time()).prop_map(|(command_id, issued_at)| Entry::NonceSeen { command_id, issued_at }),
        bytes().prop_map(|packet| Entry::Telemetry { packet }),
        (prop::option::of("[!-~]{1,128}"), any::<u64>()).prop_map(|(seed, epoch)| {
            Entry::RolledBack { seed_id: seed.map(|seed| SeedId::new(seed).unwrap()), epoch }
        }),
        "[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}".prop_map(|id| Entry::Checkpoint { id: CheckpointId::new(id).unwrap() }),
    ]
}
