//! Entries that nobody should have written.

use std::collections::BTreeMap;

use kasmina_leyline::v1::{BusEnvelope, BusMessageType, MessagePriority};
use kasmina_oona::{Bus, BusSettings, DropCause, EntryKeys, Stream, conformance::arrivals};
use kasmina_safety::Clock;
use prost::Message as _;
use redis::{Connection, cmd};

use crate::worlds::{AT_ONCE, RedisWorld, column, dead_letters, pending, reader, signature};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn envelope(text: &str, attributes: &[(&str, String)]) -> Vec<u8> {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let message_type = BusMessageType::AdaptationCommand.into();
    BusEnvelope { message_type, payload: text.into(), attributes: attributes.collect() }.encode_to_vec()
}

fn signed(payload: Vec<u8>) -> Fields {
    let signature = signature("secret", &payload);
    vec![(b"payload".to_vec(), payload), (b"signature".to_vec(), signature.into_bytes())]
}

fn add(raw: &mut Connection, stream: &str, fields: &Fields) {
    let mut command = cmd("XADD");
    command.arg(stream).arg("*");
    for (name, value) in fields {
        command.arg(name).arg(value);
    }
    command.exec(raw).unwrap();
}

/// Entries, and why each is not delivered.
fn hostile(now_ms: i64) -> Vec<(Fields, DropCause)> {
    let good = || signed(envelope("good", &[]));
    let ms = |offset: i64| (now_ms + offset).to_string();
    let renamed = |at: usize, name: &[u8]| {
        let mut fields = good();
        fields[at].0 = name.to_vec();
        fields
    };
    let doubled = |at: usize| {
        let mut fields = good();
        fields.push(fields[at].clone());
        fields
    };
    let with_signature = |signature: &[u8]| {
        let mut fields = good();
        fields[1].1 = signature.to_vec();
        fields
    };
    let unknown = BusEnvelope { message_type: 4_711, ..BusEnvelope::default() }.encode_to_vec();
    vec![
        (renamed(0, b"PAYLOAD"), DropCause::MissingPayload),
        (renamed(0, b"\xff\xfe\x00"), DropCause::MissingPayload),
        (doubled(0), DropCause::MissingPayload),
        (renamed(1, b"sig"), DropCause::MissingSignature),
        (doubled(1), DropCause::RepeatedSignature),
        (with_signature(b""), DropCause::BadSignature),
        (with_signature(b"!!! not base64 !!!"), DropCause::BadSignature),
        (with_signature(signature("other secret", &envelope("good", &[])).as_bytes()), DropCause::BadSignature),
        (with_signature(signature("secret", b"another payload").as_bytes()), DropCause::BadSignature),
        (signed(vec![0xff; 40]), DropCause::Malformed),
        (signed(vec![0; (1 << 20) + 1]), DropCause::TooLarge),
        (signed(Vec::new()), DropCause::UnknownType),
        (signed(unknown), DropCause::UnknownType),
        (signed(envelope("x", &[("issued_at_ms", "soon".into())])), DropCause::IllegibleStamp),
        (signed(envelope("x", &[("priority", "URGENT".into())])), DropCause::IllegibleStamp),
        (signed(envelope("x", &[("sent_at_ms", ms(-120_000))])), DropCause::Stale),
        (signed(envelope("x", &[("issued_at_ms", ms(-120_000))])), DropCause::Stale),
        (signed(envelope("x", &[("sent_at_ms", ms(4_000_000))])), DropCause::SentInFuture),
        (signed(envelope("x", &[("issued_at_ms", i64::MAX.to_string())])), DropCause::SentInFuture),
    ]
}

#[test]
fn hostile_entries_are_counted_and_hold_up_nothing() {
    let Some(world) = RedisWorld::new(BusSettings::default(), &[]) else { return };
    let mut raw = world.raw();
    let names = &world.settings.bus.streams;
    let now_ms = world.clock.unix().as_nanos() / 1_000_000;
    let (mut expected, mut letters) = (BTreeMap::new(), Vec::new());
    for (fields, cause) in hostile(now_ms) {
        add(&mut raw, &names.normal, &fields);
        *expected.entry(cause).or_insert(0) += 1;
        letters.extend(cause.is_kept().then(|| cause.name().to_owned()));
    }
    add(&mut raw, &names.normal, &signed(envelope("good", &[])));
    let bus = world.start(reader("tamiyo"));
    let arrived = arrivals(&bus, 1);
    assert_eq!(arrived[0].envelope.payload, b"good");
    bus.acknowledge(arrived[0].id).unwrap();
    bus.flush(AT_ONCE).unwrap();
    let counts = bus.status().counts;
    assert_eq!(counts.dropped, expected);
    assert_eq!((counts.unstamped, counts.dead_lettered), (1, letters.len() as u64));
    assert_eq!(dead_letters(&mut raw, names), letters, "only what is authentic is kept");
    assert_eq!(column(&mut raw, &names.dead_letters, "signature").len(), letters.len(), "with its signature");
    assert_eq!(pending(&mut raw, &names.normal, "tamiyo"), 0, "all are acknowledged");
    assert_eq!(bus.status().refusing, BTreeMap::new());
}

#[test]
fn without_a_secret_unsigned_envelopes_are_accepted() {
    let Some(mut world) = RedisWorld::new(BusSettings::default(), &[]) else { return };
    world.keys = EntryKeys::default();
    let mut raw = world.raw();
    let names = &world.settings.bus.streams;
    let unsigned = vec![(b"payload".to_vec(), envelope("existing sender", &[]))];
    add(&mut raw, &names.normal, &unsigned);
    add(&mut raw, &names.emergency, &unsigned);
    let bus = world.start(reader("tamiyo"));
    let arrived = arrivals(&bus, 2);
    let facts: Vec<_> = arrived.iter().map(|delivery| (delivery.id.stream, delivery.priority)).collect();
    assert_eq!(
        facts,
        [(Stream::Emergency, MessagePriority::Critical), (Stream::Normal, MessagePriority::Normal)],
        "they have no stamp, so that the stream says it"
    );
    assert_eq!(bus.status().counts.unstamped, 2);
}

#[test]
fn an_unstamped_entry_expires_by_the_time_of_its_storage() {
    let Some(world) = RedisWorld::new(BusSettings::default(), &[]) else { return };
    let mut raw = world.raw();
    add(&mut raw, &world.settings.bus.streams.normal, &signed(envelope("old", &[])));
    world.clock.advance(std::time::Duration::from_secs(16 * 60));
    let bus = world.start(reader("tamiyo"));
    let came = || bus.status().counts.dropped.get(&DropCause::Expired) == Some(&1);
    crate::worlds::wait_until("it is dropped", came);
}

mod any_entry {
    use kasmina_leyline::UnixTime;
    use kasmina_oona::{EntryId, RawEntry, admit};
    use proptest::prelude::*;

    use super::{BusSettings, DropCause, EntryKeys, Stream, envelope, signed};

    fn entry(fields: super::Fields, millis: u64) -> RawEntry {
        RawEntry { stream: Stream::Normal, id: EntryId { millis, sequence: 0 }, fields }
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![Just(b"payload".to_vec()), Just(b"signature".to_vec()), prop::collection::vec(any::<u8>(), 0..9)]
    }

    proptest! {
        #[test]
        fn without_the_secret_nothing_is_admitted(
            fields in prop::collection::vec((name(), prop::collection::vec(any::<u8>(), 0..60)), 0..5),
            millis: u64,
            now: i64,
        ) {
            let keys = EntryKeys::of("2026", "secret").unwrap();
            let cause = admit(&entry(fields, millis), &keys, &BusSettings::default(), UnixTime::from_nanos(now));
            let forged = [
                DropCause::MissingPayload,
                DropCause::RepeatedSignature,
                DropCause::MissingSignature,
                DropCause::BadSignature,
            ];
            prop_assert!(cause.is_err_and(|cause| forged.contains(&cause)));
        }

        #[test]
        fn a_changed_bit_makes_the_signature_wrong(at: prop::sample::Index, bit in 0..8_u32) {
            let keys = EntryKeys::of("2026", "secret").unwrap();
            let mut fields = signed(envelope("a command", &[("message_id", "1".to_owned())]));
            let judge = |fields: &super::Fields| {
                admit(&entry(fields.clone(), 0), &keys, &BusSettings::default(), UnixTime::default())
            };
            prop_assert!(judge(&fields).is_ok());
            let payload = &mut fields[0].1;
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
            prop_assert_eq!(judge(&fields), Err(DropCause::BadSignature));
        }

        #[test]
        fn without_a_secret_any_bytes_are_judged(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            stamps in prop::collection::vec(any::<i64>(), 2),
            millis: u64,
            now: i64,
        ) {
            let stamps = [("issued_at_ms", stamps[0].to_string()), ("sent_at_ms", stamps[1].to_string())];
            for payload in [payload, envelope("x", &stamps)] {
                let fields = vec![(b"payload".to_vec(), payload)];
                let now = UnixTime::from_nanos(now);
                let settings = BusSettings::default();
                if let Ok(admitted) = admit(&entry(fields, millis), &EntryKeys::default(), &settings, now) {
                    let stored_at = EntryId { millis, sequence: 0 }.time();
                    let issued_at = admitted.stamp.issued_at.or(admitted.stamp.sent_at).unwrap_or(stored_at);
                    prop_assert!(now.since(issued_at) <= settings.time_to_live, "expired");
                    prop_assert!(Stream::home(admitted.message_type).is_some(), "a type without a stream");
                }
            }
        }
    }
}
