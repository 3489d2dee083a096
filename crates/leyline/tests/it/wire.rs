//! The walk over signed bytes: what it refuses and what it preserves.

use std::collections::BTreeMap;

use kasmina_leyline::{
    UnixTime,
    v1::{
        AdaptationCommand, BlendConfig, BlendMode, CommandCircuitBreaker, CommandOptimizerAdjustment,
        CommandSeedOperation, adaptation_command::Payload,
    },
    wire::{self, Head, MAX_DEPTH, MAX_SIGNED_BYTES, Malformed, MapOrder, SignedBytes},
};
use proptest::prelude::*;
use prost::Message;
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};

/// A length-delimited field with a short number and payload.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut tag = vec![];
    prost::encoding::encode_key(number.into(), prost::encoding::WireType::LengthDelimited, &mut tag);
    prost::encoding::encode_varint(payload.len() as u64, &mut tag);
    [tag, payload.to_vec()].concat()
}

fn annotation(key: &str, value: &str) -> Vec<u8> {
    field(20, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
}

fn refused(bytes: &[u8]) -> Malformed {
    SignedBytes::parse(bytes).map(|_| ()).unwrap_err()
}

#[test]
fn signature_is_cut_out_and_nothing_else() {
    let bytes =
        [field(2, b"cmd-1"), annotation("b", "1"), annotation("signature", "xyz"), annotation("a", "")].concat();
    let signed = SignedBytes::parse(&bytes).unwrap();
    assert_eq!(signed.signature(), Some(&b"xyz"[..]));
    let as_received = [field(2, b"cmd-1"), annotation("b", "1"), annotation("a", "")].concat();
    assert_eq!(signed.in_order(MapOrder::AsReceived), as_received);
    let sorted = [field(2, b"cmd-1"), annotation("a", ""), annotation("b", "1")].concat();
    assert_eq!(signed.in_order(MapOrder::Bytewise), sorted);
}

#[test]
fn parameter_named_signature_is_not_cut_out() {
    let parameter = field(3, &[field(1, b"signature"), vec![0x15, 0, 0, 0, 0]].concat());
    let bytes = field(10, &parameter);
    let signed = SignedBytes::parse(&bytes).unwrap();
    assert_eq!(signed.signature(), None);
    assert_eq!(signed.in_order(MapOrder::Upb), bytes);
}

#[test]
fn prefixes_go_last_in_upb_order_and_first_in_bytewise_order() {
    let long_first = [annotation("alpha_vec_len", "2"), annotation("alpha_vec", "1,2"), annotation("b", "")].concat();
    let short_first = [annotation("alpha_vec", "1,2"), annotation("alpha_vec_len", "2"), annotation("b", "")].concat();
    for bytes in [&long_first, &short_first] {
        let signed = SignedBytes::parse(bytes).unwrap();
        assert_eq!(signed.in_order(MapOrder::Upb), long_first);
        assert_eq!(signed.in_order(MapOrder::Bytewise), short_first);
    }
}

#[test]
fn unknown_fields_are_preserved() {
    let unknown = [vec![0xf8, 0x07, 0x01], field(99, b"\xff\xff opaque"), vec![0xd5, 0x06, 1, 2, 3, 4]].concat();
    let bytes = [annotation("b", ""), annotation("a", ""), unknown.clone()].concat();
    let signed = SignedBytes::parse(&bytes).unwrap();
    assert_eq!(signed.in_order(MapOrder::Upb), [annotation("a", ""), annotation("b", ""), unknown].concat());
}

#[test]
fn ambiguous_bytes_are_refused() {
    assert_eq!(
        refused(&[annotation("signature", "a"), annotation("signature", "b")].concat()),
        Malformed::DuplicateKey { field: 20 }
    );
    assert_eq!(refused(&[annotation("a", "1"), annotation("a", "1")].concat()), Malformed::DuplicateKey { field: 20 });
    let scattered = [annotation("a", "1"), field(2, b"cmd"), annotation("b", "1")].concat();
    assert_eq!(refused(&scattered), Malformed::ScatteredMap { field: 20 });
    let two_keys = field(20, &[field(1, b"a"), field(1, b"b")].concat());
    assert_eq!(refused(&two_keys), Malformed::Entry { field: 20 });
    let third_part = field(20, &[field(1, b"a"), field(3, b"b")].concat());
    assert_eq!(refused(&third_part), Malformed::Entry { field: 20 });
    assert_eq!(refused(&[0x80, 0x00]), Malformed::Varint { at: 0 });
    assert_eq!(refused(&[0x12, 0x81, 0x00, 0]), Malformed::Varint { at: 1 });
    assert_eq!(refused(&[0xff; 12]), Malformed::Varint { at: 0 });
    assert_eq!(refused(&[0x00, 0x01]), Malformed::Tag { tag: 0 });
    assert_eq!(refused(&[0x13, 0x14]), Malformed::WireType { field: 2, wire_type: 3 });
    assert_eq!(refused(&[0xa0, 0x01, 0x01]), Malformed::WireType { field: 20, wire_type: 0 });
    assert_eq!(refused(&[0x12, 0x05, b'a']), Malformed::Truncated { at: 0 });
    assert_eq!(
        refused(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        Malformed::Truncated { at: 0 }
    );
    let too_long = MAX_SIGNED_BYTES + 1;
    assert_eq!(refused(&vec![0; too_long]), Malformed::TooLong { got: too_long });
}

#[test]
fn nesting_beyond_the_bound_is_refused() {
    // A struct in a value in a struct: three messages of the schema a round, counted with the command itself.
    let nest = |rounds: usize| {
        let mut inner = Vec::new();
        for _ in 0..rounds {
            inner = field(1, &[field(1, b"k"), field(2, &field(5, &inner))].concat());
        }
        field(13, &inner)
    };
    assert!(SignedBytes::parse(&nest(MAX_DEPTH / 2 - 1)).is_ok());
    assert_eq!(refused(&nest(MAX_DEPTH / 2 + 1)), Malformed::TooDeep);
    assert_eq!(refused(&nest(400)), Malformed::TooDeep);
    assert_eq!(wire::deterministic(&nest(400)), Err(Malformed::TooDeep));
}

fn map(value: impl Strategy<Value = f32>) -> impl Strategy<Value = BTreeMap<String, f32>> {
    prop::collection::btree_map("[a-c_é]{0,4}", value, 0..6)
}

fn command() -> impl Strategy<Value = AdaptationCommand> {
    let payload = prop_oneof![
        Just(None),
        map(prop_oneof![Just(0.0), -1.0..1.0_f32]).prop_map(|parameters| {
            Some(Payload::SeedOperation(CommandSeedOperation { parameters, ..Default::default() }))
        }),
        map(Just(0.0)).prop_map(|hyperparameters| {
            Some(Payload::OptimizerAdjustment(CommandOptimizerAdjustment { hyperparameters, ..Default::default() }))
        }),
    ];
    let annotations = prop::collection::btree_map("[a-c_é]{0,4}", "[a-z]{0,3}", 0..8);
    ("[a-z]{0,8}", payload, annotations).prop_map(|(command_id, payload, annotations)| AdaptationCommand {
        command_id,
        payload,
        annotations,
        ..Default::default()
    })
}

proptest! {
    /// The deterministic bytes decode to the same command, are a fixed point, and equal what a receiver finds in upb order.
    #[test]
    fn deterministic_bytes_decode_to_the_same_command(command in command()) {
        let signed = wire::deterministic(&command.encode_to_vec()).unwrap();
        prop_assert_eq!(&AdaptationCommand::decode(signed.as_slice()).unwrap(), &command);
        prop_assert_eq!(&wire::deterministic(&signed).unwrap(), &signed);
        let sent = wire::with_signature(&signed, "c2ln");
        let received = SignedBytes::parse(&sent).unwrap();
        prop_assert_eq!(received.signature(), Some(&b"c2ln"[..]));
        prop_assert_eq!(received.in_order(MapOrder::AsReceived), signed.clone());
        prop_assert_eq!(received.in_order(MapOrder::Upb), signed);
    }

    /// Permuting changes no length, and no bytes make the walk panic.
    #[test]
    fn any_bytes_are_walked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(signed) = SignedBytes::parse(&bytes) {
            let length = signed.in_order(MapOrder::AsReceived).len();
            for order in MapOrder::ALL {
                prop_assert_eq!(signed.in_order(order).len(), length);
                prop_assert_eq!(signed.is_in(order), signed.in_order(order) == signed.as_received().concat());
            }
        }
        let _ = wire::deterministic(&bytes);
    }

    /// The same for bytes that are almost a command.
    #[test]
    fn damaged_commands_are_walked_or_refused(command in command(), at: prop::sample::Index, to: u8) {
        let mut bytes = wire::with_signature(&wire::deterministic(&command.encode_to_vec()).unwrap(), "c2ln");
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(signed) = SignedBytes::parse(&bytes) {
            for order in MapOrder::ALL {
                prop_assert!(signed.in_order(order).len() <= bytes.len());
                prop_assert_eq!(signed.is_in(order), signed.in_order(order) == signed.as_received().concat());
            }
        }
        let _ = wire::deterministic(&bytes);
    }
}

fn head(bytes: &[u8]) -> Option<Head<'_>> {
    SignedBytes::parse(bytes).unwrap().head()
}

/// Commands with every kind of field in them.
fn full_command() -> impl Strategy<Value = AdaptationCommand> {
    let text = || prop_oneof!["[a-zé]{0,6}", Just(String::new())];
    let payload = prop_oneof![
        (text(), map(any::<f32>()), prop::collection::vec(any::<f32>(), 0..4), prop::option::of(any::<f32>()))
            .prop_map(|(blueprint_id, parameters, alpha_vec, gate_k)| {
                let blend = Some(BlendConfig {
                    mode: 2,
                    source: Some("policy".into()),
                    gate_k,
                    alpha_vec,
                    ..Default::default()
                });
                Payload::SeedOperation(CommandSeedOperation { operation: 3, blueprint_id, parameters, blend })
            }),
        (text(), any::<i32>()).prop_map(|(rationale, desired_state)| {
            Payload::CircuitBreaker(CommandCircuitBreaker { desired_state, rationale })
        }),
        prop::collection::vec(any::<u8>(), 0..60).prop_filter_map("a struct", |bytes| Message::decode(
            bytes.as_slice()
        )
        .ok()
        .map(Payload::RollbackPayload)),
        Just(Payload::RollbackPayload(nested())),
    ];
    (
        command(),
        text(),
        (any::<u32>(), any::<i32>(), prop_oneof![any::<i64>(), -9_000_000_000..9_000_000_000_i64], any::<i32>()),
        prop::option::of(payload),
    )
        .prop_map(|(command, text, (version, command_type, seconds, nanos), payload)| AdaptationCommand {
            version,
            command_type,
            target_seed_id: text.clone(),
            issued_at: Some(Timestamp { seconds, nanos }),
            issued_by: text,
            payload,
            ..command
        })
}

/// Every kind of value, in a list in a struct.
fn nested() -> Struct {
    let value = |kind| Value { kind: Some(kind) };
    let kinds = [Kind::NullValue(0), Kind::NumberValue(1.5), Kind::StringValue("é".into()), Kind::BoolValue(true)];
    let list = Kind::ListValue(ListValue { values: kinds.map(value).into() });
    let inner = Struct { fields: [("list".to_owned(), value(list))].into() };
    Struct { fields: [("inner".to_owned(), value(Kind::StructValue(inner)))].into() }
}

/// What [`SignedBytes::head`] says is what a decoder reads, and a decoder reads the rest too.
fn head_is_decoded(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(Some(head)) = SignedBytes::parse(bytes).map(|received| received.head()) else { return Ok(false) };
    let decoded = AdaptationCommand::decode(bytes);
    prop_assert!(decoded.is_ok(), "{head:?} of what does not decode: {decoded:?}");
    let decoded = decoded.unwrap();
    let issued_at = decoded.issued_at.map(UnixTime::from);
    prop_assert_eq!(head, Head { command_id: &decoded.command_id, issued_at });
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn head_of_a_command_is_what_is_decoded(command in full_command()) {
        prop_assert!(head_is_decoded(&command.encode_to_vec())?, "nothing is wrong with it");
    }

    #[test]
    fn head_of_damaged_bytes_is_what_is_decoded_or_none(
        command in full_command(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = command.encode_to_vec();
        for (at, to) in damage {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        head_is_decoded(&bytes)?;
    }

    /// Fields that come twice, in any order.
    #[test]
    fn head_of_two_commands_in_a_row_is_what_is_decoded_or_none(one in full_command(), other in full_command()) {
        let other = AdaptationCommand { annotations: BTreeMap::new(), ..other };
        head_is_decoded(&[other.encode_to_vec(), one.encode_to_vec()].concat())?;
    }
}

#[test]
fn head_is_none_for_what_a_decoder_may_refuse() {
    let id = Head { command_id: "c", issued_at: None };
    assert_eq!(head(&field(2, b"c")), Some(id));
    assert_eq!(head(&[field(2, b"c"), field(99, b"\xff")].concat()), Some(id), "what is unknown is skipped");
    for wrong in [
        field(2, b"\xff"),
        vec![0x10, 1],
        field(1, b""),
        field(4, b"\xff"),
        vec![0x30, 1],
        field(6, &field(1, b"")),
        field(6, b"\x08"),
        field(10, &field(2, b"\xff")),
        field(10, &field(10, &field(7, b"123"))),
        field(10, &field(10, &[0x18, 1])),
        field(10, &field(10, &field(1, b""))),
        field(12, &[0x0d, 0, 0, 0, 0]),
        field(13, &field(1, &field(2, &[0x15, 0, 0, 0, 0]))),
        field(10, &field(3, &[field(1, b"k"), field(2, b"")].concat())),
        field(13, &field(1, &field(2, &field(3, b"\xff")))),
        field(20, &field(1, b"\xff")),
        field(20, &[0x10, 1]),
    ] {
        assert_eq!(head(&wrong), None, "{wrong:?}");
    }
}

#[test]
fn keys_of_a_long_unordered_map_are_all_compared() {
    let entries = |keys: &[&str]| keys.iter().flat_map(|key| annotation(key, "")).collect::<Vec<_>>();
    let mut keys: Vec<_> = (0..40).rev().map(|number| format!("key-{number:02}")).collect();
    keys.push("key-41".to_owned());
    let mut keys: Vec<_> = keys.iter().map(String::as_str).collect();
    assert!(SignedBytes::parse(&entries(&keys)).is_ok());
    keys.push("key-07");
    assert_eq!(refused(&entries(&keys)), Malformed::DuplicateKey { field: 20 });
}

/// A typed blend has no map, so nothing in it is reordered.
#[test]
fn typed_blend_is_opaque_to_the_walk() {
    let blend = BlendConfig { mode: BlendMode::Channel.into(), alpha_vec: vec![0.5, 1.0], ..Default::default() };
    let operation = CommandSeedOperation { blend: Some(blend), ..Default::default() };
    let command = AdaptationCommand { payload: Some(Payload::SeedOperation(operation)), ..Default::default() };
    let bytes = command.encode_to_vec();
    assert_eq!(wire::deterministic(&bytes).unwrap(), bytes);
    assert!(MapOrder::ALL.into_iter().all(|order| SignedBytes::parse(&bytes).unwrap().is_in(order)));
}

#[test]
fn map_out_of_order_is_found_at_any_depth() {
    let nested = field(
        13,
        &[field(1, &[field(1, b"b"), field(2, b"")].concat()), field(1, &[field(1, b"a"), field(2, b"")].concat())]
            .concat(),
    );
    let signed = SignedBytes::parse(&nested).unwrap();
    assert!(signed.is_in(MapOrder::AsReceived) && !signed.is_in(MapOrder::Upb) && !signed.is_in(MapOrder::Bytewise));
    // The signature is not part of what is ordered.
    let bytes = [annotation("a", ""), annotation("signature", "x"), annotation("b", "")].concat();
    assert!(SignedBytes::parse(&bytes).unwrap().is_in(MapOrder::Upb));
    let bytes = [annotation("z", ""), annotation("signature", "x")].concat();
    assert!(SignedBytes::parse(&bytes).unwrap().is_in(MapOrder::Bytewise));
    let bytes = [annotation("alpha_vec", ""), annotation("alpha_vec_len", "")].concat();
    let signed = SignedBytes::parse(&bytes).unwrap();
    assert!(signed.is_in(MapOrder::Bytewise) && !signed.is_in(MapOrder::Upb));
}
