//! Secrets, and their rotation while a bus runs.

use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{Bus, BusSettings, DropCause, EntryKeys, KeyError, Message, conformance::arrivals};
use kasmina_security::Secret;

use crate::worlds::{AT_ONCE, RedisWorld, column, reader, signature, wait_until};

fn publish(bus: &impl Bus, text: &str) {
    bus.publish(Message::new(BusMessageType::FieldReport, text)).unwrap();
    bus.flush(AT_ONCE).unwrap();
}

#[test]
fn keys_rotate_while_the_bus_runs() {
    let Some(mut world) = RedisWorld::new(BusSettings::default(), &[]) else { return };
    let sending = EntryKeys::of("old", "one").unwrap();
    let receiving = EntryKeys::of("old", "one").unwrap();
    world.keys = sending.clone();
    let sender = world.start(None);
    world.keys = receiving.clone();
    let receiver = world.start(reader("tamiyo"));

    publish(&sender, "with the old key");
    arrivals(&receiver, 1);
    receiving.accept("new", "two").unwrap();
    sending.accept("new", "two").unwrap();
    publish(&sender, "still with the old key");
    sending.sign_with("new").unwrap();
    publish(&sender, "with the new key");
    arrivals(&receiver, 2);

    receiving.sign_with("new").unwrap();
    receiving.remove("old").unwrap();
    sending.sign_with("old").unwrap();
    publish(&sender, "with a key that was removed");
    wait_until("it is dropped", || receiver.status().counts.dropped.get(&DropCause::BadSignature) == Some(&1));
    sending.sign_with("new").unwrap();
    publish(&sender, "with the new key again");
    assert_eq!(arrivals(&receiver, 1)[0].envelope.payload, b"with the new key again");
}

#[test]
fn an_entry_has_the_contract_s_signature() {
    let Some(world) = RedisWorld::new(BusSettings::default(), &[]) else { return };
    let sender = world.start(None);
    publish(&sender, "x");
    let (mut raw, stream) = (world.raw(), &world.settings.bus.streams.normal);
    let payload = column(&mut raw, stream, "payload").remove(0);
    let expected = signature("secret", &payload);
    assert_eq!(column(&mut raw, stream, "signature"), [expected.into_bytes()], "HMAC-SHA256 of exactly the payload");
}

#[test]
fn a_key_signs_like_the_secret_that_it_is_of() {
    let keys = EntryKeys::of_key("2026", Secret::new("secret").unwrap().key());
    assert_eq!(keys.sign(b"bytes"), Some(signature("secret", b"bytes")));
    keys.accept("2026", "another").unwrap();
    assert_eq!(keys.sign(b"bytes"), Some(signature("another", b"bytes")), "it has the id");
}

#[test]
fn the_key_that_signs_cannot_be_removed() {
    let keys = EntryKeys::of("old", "one").unwrap();
    assert_eq!(keys.remove("old"), Err(KeyError::SigningKey { id: "old".into() }));
    assert_eq!(keys.remove("other"), Err(KeyError::UnknownKey { id: "other".into() }));
    assert_eq!(keys.sign_with("other"), Err(KeyError::UnknownKey { id: "other".into() }));
    assert_eq!(keys.accept("new", ""), Err(KeyError::EmptySecret));
    assert_eq!(EntryKeys::of("new", "").unwrap_err(), KeyError::EmptySecret);
    assert_eq!(format!("{keys:?}"), "{\"old\"}", "secrets are not printed");
}
