//! Entries of the bus.

use kasmina_leyline::{
    UnixTime,
    v1::{BusEnvelope, MessagePriority},
};
use kasmina_oona::{Admitted, BusSettings, DropCause, EntryId, EntryKeys, RawEntry, Stream, admit};
use prost::Message;

use crate::choices::Choices;

/// When the server stored the entry, in milliseconds.
const STORED: i64 = 1_790_000_000_000;
const LONGEST: usize = 8 << 10;
/// So small that a fuzzer finds what is too large.
const MAX_PAYLOAD: usize = 4 << 10;
const NAMES: [&[u8]; 5] = [b"payload", b"signature", b"Payload", b"", b"\xff"];
const ATTRIBUTES: [&str; 6] = ["issued_at_ms", "sent_at_ms", "message_id", "priority", "Priority", ""];
const VALUES: [&str; 10] = [
    "1790000000000",
    "1789999999000",
    "1790000004000",
    "0",
    "-1",
    "9223372036854775807",
    "MESSAGE_PRIORITY_CRITICAL",
    "MESSAGE_PRIORITY_LOW",
    "",
    "1e3",
];

/// The fields of an entry: nothing is delivered that nobody signed, that has outlived its time, or whose type nobody knows; and a
/// signature says who sent a payload, not what is in it.
pub fn entry(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(LONGEST)]);
    let kind = choices.byte() % 3;
    let (stream, now) = (Stream::ALL[choices.below(Stream::ALL.len())], now(&mut choices));
    match kind {
        0 => drop(judged(vec![(b"payload".to_vec(), choices.rest().to_vec())], stream, now)),
        1 => {
            let fields = (0..choices.below(5))
                .map(|_| (choices.pick(&NAMES).unwrap_or_default().to_vec(), choices.bytes(40).to_vec()))
                .collect();
            drop(judged(fields, stream, now));
        }
        _ => signed(&mut choices, stream, now),
    }
}

/// Before, at and after the end of the time to live, or any time.
fn now(choices: &mut Choices<'_>) -> UnixTime {
    let after = match choices.byte() % 4 {
        0 => 0,
        1 => 15 * 60 * 1_000,
        2 => 15 * 60 * 1_000 + 1,
        _ => i64::from(i32::from_le_bytes(choices.number())),
    };
    UnixTime::from_millis(STORED + after)
}

fn settings() -> BusSettings {
    BusSettings { max_payload_bytes: MAX_PAYLOAD, ..BusSettings::default() }
}

fn keys() -> EntryKeys {
    EntryKeys::of("fuzz", "a secret of the fuzzer").expect("it is not empty")
}

fn raw(fields: Vec<(Vec<u8>, Vec<u8>)>, stream: Stream) -> RawEntry {
    RawEntry { stream, id: EntryId { millis: STORED as u64, sequence: 0 }, fields }
}

/// What holds of any entry. Gives what a bus without keys says.
fn judged(fields: Vec<(Vec<u8>, Vec<u8>)>, stream: Stream, now: UnixTime) -> Result<Admitted, DropCause> {
    let entry = raw(fields, stream);
    let settings = settings();
    let forged = admit(&entry, &keys(), &settings, now).map(|_| ()).expect_err("delivered without the secret");
    let of_a_stranger = [
        DropCause::MissingPayload,
        DropCause::TooLarge,
        DropCause::MissingSignature,
        DropCause::RepeatedSignature,
        DropCause::BadSignature,
    ];
    assert!(of_a_stranger.contains(&forged) && !forged.is_kept(), "{forged:?}: a stranger fills the dead letters");
    let judged = admit(&entry, &EntryKeys::default(), &settings, now);
    if let Ok(admitted) = &judged {
        sound(admitted, &entry, &settings, now);
    }
    judged
}

/// What every delivery keeps.
fn sound(admitted: &Admitted, entry: &RawEntry, settings: &BusSettings, now: UnixTime) {
    let Admitted { envelope, message_type, priority, stamp, issued_at } = admitted;
    assert_eq!(envelope.message_type, i32::from(*message_type));
    assert!(Stream::home(*message_type).is_some(), "{message_type:?} has a stream");
    assert!(envelope.payload.len() <= settings.max_payload_bytes);
    assert!(now.since(*issued_at) <= settings.time_to_live, "delivered after its time");
    for at in [stamp.issued_at, stamp.sent_at].into_iter().flatten() {
        assert!(at.since(entry.id.time()) <= settings.ahead, "delivered from the future");
    }
    if let Some(sent) = stamp.sent_at.or(stamp.issued_at) {
        assert!(entry.id.time().since(sent) <= settings.freshness, "delivered although it is stale");
    }
    let unstated = if entry.stream == Stream::Emergency { MessagePriority::Critical } else { MessagePriority::Normal };
    assert_eq!(*priority, stamp.priority.unwrap_or(unstated));
    // Its own encoding says the same, whatever else the sender's held.
    let again = raw(vec![(b"payload".to_vec(), envelope.encode_to_vec())], entry.stream);
    assert_eq!(admit(&again, &EntryKeys::default(), settings, now).as_ref(), Ok(admitted));
    // It does not outlive its time.
    let late = issued_at.after(settings.time_to_live).after(std::time::Duration::from_nanos(1));
    assert_eq!(admit(&again, &EntryKeys::default(), settings, late), Err(DropCause::Expired));
}

/// An entry that its sender signed, and that somebody changed.
fn signed(choices: &mut Choices<'_>, stream: Stream, now: UnixTime) {
    let (settings, keys) = (settings(), keys());
    let mut envelope = BusEnvelope {
        message_type: choices.below(12) as i32 - 1,
        payload: choices.bytes(24).to_vec(),
        ..BusEnvelope::default()
    };
    for _ in 0..choices.below(5) {
        let name = choices.pick(&ATTRIBUTES).unwrap_or_default().to_owned();
        let value = if choices.flag() { choices.text(8) } else { choices.pick(&VALUES).unwrap_or_default().to_owned() };
        envelope.attributes.insert(name, value);
    }
    let mut payload = envelope.encode_to_vec();
    if choices.flag() {
        choices.spoil(&mut payload);
    }
    let signature = keys.sign(&payload).expect("there is a key").into_bytes();
    let with = |payload: &[u8], signature: &[u8]| {
        vec![(b"signature".to_vec(), signature.to_vec()), (b"payload".to_vec(), payload.to_vec())]
    };
    let alone = judged(vec![(b"payload".to_vec(), payload.clone())], stream, now);
    let admitted = admit(&raw(with(&payload, &signature), stream), &keys, &settings, now);
    assert_eq!(admitted, alone, "the signature says who, not what");

    let (mut other, mut another) = (payload.clone(), signature.clone());
    if choices.flag() {
        choices.spoil(&mut other)
    } else {
        choices.spoil(&mut another)
    }
    let verdict = admit(&raw(with(&other, &another), stream), &keys, &settings, now);
    if (&other, &another) == (&payload, &signature) {
        assert_eq!(verdict, admitted);
    } else {
        let refused = matches!(verdict, Err(DropCause::BadSignature | DropCause::TooLarge));
        assert!(refused, "{verdict:?} although something was changed");
    }
    let mut twice = with(&payload, &signature);
    twice.push((NAMES[choices.below(2)].to_vec(), choices.bytes(4).to_vec()));
    let verdict = admit(&raw(twice, stream), &keys, &settings, now).map(|_| ()).expect_err("a field is there twice");
    assert!(
        matches!(verdict, DropCause::MissingPayload | DropCause::RepeatedSignature | DropCause::TooLarge),
        "{verdict:?}"
    );
}
