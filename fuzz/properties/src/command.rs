//! Signed commands.

use std::collections::BTreeMap;

use kasmina_leyline::{
    Monotonic, UnixTime,
    v1::{AdaptationCommand, CommandOptimizerAdjustment, CommandSeedOperation, adaptation_command::Payload},
    wire::{self, Head, Malformed, MapOrder, SignedBytes},
};
use kasmina_security::{CommandVerifier, KeyRing, Secret, Signer, VerifiedBytes, Verifier};
use prost::Message;

use crate::{
    choices::Choices,
    outline::{annotations, outline},
};

const WALL: UnixTime = UnixTime::from_millis(1_790_000_000_000);
const NOW: Monotonic = Monotonic::ORIGIN;
/// Parsing is linear: what longer inputs would show, shorter ones show faster.
const LONGEST: usize = 8 << 10;
const KEYS: [&str; 8] = ["", "signature", "signaturf", "blend_mode", "a", "aa", "z", "\u{e9}"];

/// Bytes of a command: nobody without the secret is obeyed, nothing that was signed can be changed but the order of its map
/// entries, and nothing is obeyed twice.
pub fn command(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(LONGEST)]);
    if choices.flag() {
        signed(choices);
    } else {
        let bytes = choices.rest();
        parsed(bytes);
        decoded(bytes);
        forged(bytes);
    }
}

/// What a parse gives is the input, the signature taken out and the maps in order. What it says of the command is what is decoded.
fn parsed(bytes: &[u8]) {
    let Ok(received) = SignedBytes::parse(bytes) else { return };
    let plain = received.in_order(MapOrder::AsReceived);
    assert_eq!(received.as_received().concat(), plain);
    let none_or_shorter = if received.signature().is_none() { plain == bytes } else { plain.len() < bytes.len() };
    assert!(none_or_shorter, "the signature, and nothing else, is taken out");
    if let Some(head) = received.head() {
        let command = AdaptationCommand::decode(bytes).expect("what has a head decodes");
        let issued_at = command.issued_at.map(UnixTime::from);
        assert_eq!(head, Head { command_id: &command.command_id, issued_at }, "the head is what is decoded");
    }
    for order in MapOrder::ALL {
        let ordered = received.in_order(order);
        assert_eq!(sorted(&ordered), sorted(&plain), "{order:?} only permutes");
        let again = SignedBytes::parse(&ordered).expect("what was well-formed stays so");
        assert_eq!(again.signature(), None);
        assert_eq!(again.in_order(order), ordered, "{order:?} is an order");
        assert_eq!(outline(&ordered), outline(bytes), "{order:?} leaves the fields alone");
        if let Ok(command) = AdaptationCommand::decode(bytes) {
            let ordered = AdaptationCommand::decode(ordered.as_slice()).expect("what decoded still decodes");
            assert_eq!(unsigned(ordered), unsigned(command), "{order:?} changes no meaning");
        }
    }
}

/// Whatever decodes has one deterministic form.
fn decoded(bytes: &[u8]) {
    let Ok(command) = AdaptationCommand::decode(bytes) else { return };
    match wire::deterministic(&command.encode_to_vec()) {
        Ok(form) => {
            assert_eq!(wire::deterministic(&form).as_deref(), Ok(form.as_slice()), "a fixed point");
            let back = AdaptationCommand::decode(form.as_slice()).expect("the deterministic form decodes");
            assert_eq!(unsigned(back), unsigned(command));
        }
        Err(refusal) => assert!(matches!(refusal, Malformed::TooLong { .. } | Malformed::TooDeep), "{refusal}"),
    }
}

/// Whoever does not have the secret is refused, with a reason.
fn forged(bytes: &[u8]) {
    let rejection = verifier().verify(bytes, WALL, NOW).map(|_| ()).expect_err("obeyed without the secret");
    assert!(["malformed", "missing_signature", "invalid_signature"].contains(&rejection.reason()), "{rejection}");
    assert!(!rejection.to_string().is_empty());
}

fn signed(mut choices: Choices<'_>) {
    let command = make(&mut choices);
    let wire = match Signer::new(&secret()).sign(&command) {
        Ok(wire) => wire,
        Err(refusal) => {
            assert_eq!(refusal, Malformed::TooDeep, "a small command can be signed");
            return;
        }
    };
    let mut verifier = verifier();
    let verified =
        verifier.verify(&wire, WALL, NOW).and_then(VerifiedBytes::decode).map(|it| unsigned(it.into_command()));
    assert_eq!(verified, Ok(unsigned(command)), "what was signed is obeyed");
    let again = verifier.verify(&wire, WALL, NOW).map(|_| ()).map_err(|rejection| rejection.reason());
    assert_eq!(again, Err("nonce_replayed"));

    let mut other = wire.clone();
    if choices.flag() {
        shuffle(&mut other, &mut choices);
        assert!(verify(&other).is_ok(), "the order of annotations is nobody's");
    }
    let kept = other.clone();
    choices.spoil(&mut other);
    match verify(&other) {
        Err(reason) => {
            assert!(other != kept, "{reason}: refused although nothing was changed");
            assert!(["malformed", "missing_signature", "invalid_signature"].contains(&reason), "{reason}");
        }
        Ok(obeyed) => {
            assert_eq!(outline(&other), outline(&wire), "obeyed although bytes were changed");
            let original = AdaptationCommand::decode(wire.as_slice()).expect("it was obeyed");
            assert_eq!(obeyed, original.encode_to_vec(), "obeyed with another meaning");
            // Another spelling of the same command is the same command.
            let replay = verifier.verify(&other, WALL, NOW).map(|_| ()).map_err(|rejection| rejection.reason());
            assert_eq!(replay, Err("nonce_replayed"));
        }
    }
}

/// A command that is fresh and has an id.
fn make(choices: &mut Choices<'_>) -> AdaptationCommand {
    let offset = (choices.below(66) as i64 - 60) * 1_000_000_000;
    let mut command = AdaptationCommand {
        version: choices.byte().into(),
        command_id: format!("c{}", choices.byte()),
        command_type: choices.byte().into(),
        target_seed_id: choices.text(8),
        issued_at: Some(UnixTime::from_nanos(WALL.as_nanos() + offset).into()),
        ..Default::default()
    };
    let mut numbers = BTreeMap::new();
    for _ in 0..choices.below(5) {
        numbers.insert(key(choices), f32::from(choices.byte()) / 8.0);
    }
    command.payload = match choices.byte() % 4 {
        0 => None,
        1 => Some(Payload::SeedOperation(CommandSeedOperation { parameters: numbers, ..Default::default() })),
        2 => Some(Payload::OptimizerAdjustment(CommandOptimizerAdjustment {
            hyperparameters: numbers,
            ..Default::default()
        })),
        _ => Message::decode(choices.bytes(64)).ok().map(Payload::RollbackPayload),
    };
    for _ in 0..choices.below(6) {
        command.annotations.insert(key(choices), choices.text(12));
    }
    command.annotations.remove("signature");
    command
}

fn key(choices: &mut Choices<'_>) -> String {
    if choices.flag() { choices.text(6) } else { choices.pick(&KEYS).unwrap_or_default().to_owned() }
}

/// Puts the annotations into another order, the signature among them.
fn shuffle(wire: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let (start, end, mut entries) = annotations(wire).expect("a signer keeps them together");
    for index in 1..entries.len() {
        let other = choices.below(index + 1);
        entries.swap(index, other);
    }
    wire.splice(start..end, entries.concat());
}

fn verify(wire: &[u8]) -> Result<Vec<u8>, &'static str> {
    let verified = verifier().verify(wire, WALL, NOW).and_then(VerifiedBytes::decode);
    verified.map(|verified| verified.command().encode_to_vec()).map_err(|rejection| rejection.reason())
}

fn verifier() -> CommandVerifier {
    CommandVerifier::new(KeyRing::of("fuzz", secret()))
}

fn secret() -> Secret {
    Secret::new("known to the target, not to the fuzzer").expect("not empty")
}

/// Its bytes, because a NaN is not equal to itself.
fn unsigned(mut command: AdaptationCommand) -> Vec<u8> {
    command.annotations.remove("signature");
    command.encode_to_vec()
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}
