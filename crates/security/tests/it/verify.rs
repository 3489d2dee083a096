//! Commands of the stock Python runtime, of the Rust signer, and forged ones.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_leyline::{
    CommandId, Monotonic, UnixTime,
    v1::{AdaptationCommand, CommandSeedOperation, adaptation_command::Payload},
};
use kasmina_security::{doubles::AcceptAll, *};
use proptest::prelude::*;

const WALL: UnixTime = UnixTime::from_millis(1_790_000_000_000);
const NOW: Monotonic = Monotonic::ORIGIN;

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn verifier() -> CommandVerifier {
    CommandVerifier::new(KeyRing::of("k1", secret("secret one")))
}

fn command(id: &str, issued_at: UnixTime) -> AdaptationCommand {
    let mut command = AdaptationCommand {
        command_id: id.into(),
        issued_at: Some(issued_at.into()),
        payload: Some(Payload::SeedOperation(CommandSeedOperation {
            parameters: [("lr_scale".into(), 0.0), (String::new(), 1.0)].into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    for key in ["alpha_vec", "alpha_vec_len", "", "resume"] {
        command.annotations.insert(key.into(), String::new());
    }
    command
}

fn signed(command: &AdaptationCommand) -> Vec<u8> {
    Signer::new(&secret("secret one")).sign(command).unwrap()
}

fn reason(outcome: Result<VerifiedBytes<'_>, Rejection>) -> &'static str {
    outcome.map_or_else(|rejection| rejection.reason(), |_| "ok")
}

#[test]
fn every_vector_of_the_stock_runtime_gets_its_verdict() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../data/signed_commands.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    for vector in vectors {
        let text = |key: &str| vector[key].as_str().unwrap();
        let mut verifier = CommandVerifier::new(KeyRing::of("k1", secret(text("secret"))));
        let wire = STANDARD.decode(text("wire")).unwrap();
        let wall = UnixTime::from_millis(vector["now_unix_ms"].as_i64().unwrap());
        assert_eq!(reason(verifier.verify(&wire, wall, NOW)), text("expect"), "{} ({})", text("name"), text("runtime"));
    }
    assert_eq!(vectors.len(), 100);
}

#[test]
fn freshness_ends_where_the_contract_says() {
    let seconds = |s: i64| WALL.as_nanos() + s * 1_000_000_000;
    let verdict = |nanos| reason(verifier().verify(&signed(&command("c", UnixTime::from_nanos(nanos))), WALL, NOW));
    assert_eq!(verdict(seconds(5)), "ok");
    assert_eq!(verdict(seconds(5) + 1), "issued_in_future");
    assert_eq!(verdict(seconds(-60)), "ok");
    assert_eq!(verdict(seconds(-60) - 1), "stale_command");
    assert_eq!(verdict(i64::MAX), "issued_in_future");
    assert_eq!(verdict(i64::MIN), "stale_command");
}

#[test]
fn replay_is_rejected_and_rejection_uses_no_nonce() {
    let mut verifier = verifier();
    let wire = signed(&command("c", WALL));
    assert_eq!(reason(verifier.verify(&wire, WALL.after(Duration::from_secs(61)), NOW)), "stale_command");
    assert_eq!(reason(verifier.verify(&wire, WALL, NOW)), "ok");
    assert_eq!(reason(verifier.verify(&wire, WALL, NOW)), "nonce_replayed");
    assert_eq!(verifier.gauges().size, 1);
}

#[test]
fn keys_rotate_without_a_gap() {
    let mut verifier = verifier();
    let sign = |key: &str, id: &str| Signer::new(&secret(key)).sign(&command(id, WALL)).unwrap();
    verifier.keys_mut().add("k2", secret("secret two"));
    assert_eq!(reason(verifier.verify(&sign("secret one", "a"), WALL, NOW)), "ok");
    assert_eq!(reason(verifier.verify(&sign("secret two", "b"), WALL, NOW)), "ok");
    assert!(verifier.keys_mut().remove("k1") && !verifier.keys_mut().remove("k1"));
    assert_eq!(reason(verifier.verify(&sign("secret one", "c"), WALL, NOW)), "invalid_signature");
    assert_eq!(reason(verifier.verify(&sign("secret two", "d"), WALL, NOW)), "ok");
}

#[test]
fn secret_is_never_printed_and_never_empty() {
    assert_eq!(Secret::new("").err(), Some(EmptySecret));
    let ring = KeyRing::of("k1", secret("hush"));
    let shown = format!(
        "{:?} {ring:?} {:?} {:?}",
        secret("hush"),
        Signer::new(&secret("hush")),
        CommandVerifier::new(ring.clone())
    );
    assert!(!shown.contains("hush") && shown.contains("k1"), "{shown}");
}

#[test]
fn nothing_is_accepted_without_a_verifier_or_a_key() {
    let wire = signed(&command("c", WALL));
    assert_eq!(reason(RejectAll::default().verify(&wire, WALL, NOW)), "no_verifier");
    assert_eq!(reason(CommandVerifier::new(KeyRing::default()).verify(&wire, WALL, NOW)), "invalid_signature");
}

#[test]
fn no_flipped_bit_is_accepted() {
    let wire = signed(&command("c", WALL));
    for bit in 0..wire.len() * 8 {
        let mut spoilt = wire.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(reason(verifier().verify(&spoilt, WALL, NOW)), "ok", "bit {bit}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_ne!(reason(verifier().verify(&bytes, WALL, NOW)), "ok");
    }

    /// For any sequence of commands, times, capacities and restarts, with a wall clock that jumps either way, no command is
    /// accepted twice. Across a restart the journal keeps what the ledger had not forgotten, and the watermark for the rest.
    #[test]
    fn no_command_is_accepted_twice(
        ttl in 0..120_u64,
        capacity in 0..6_usize,
        steps in prop::collection::vec((0..12_u8, -70..70_i64, 0..40_u64, prop::bool::weighted(0.1)), 0..120),
    ) {
        // A command's time of issue is signed, so an id always has the same one.
        let issued = |id: u8| UnixTime::from_nanos(WALL.as_nanos() + i64::from(id) * 7_000_000_000);
        let wires: Vec<_> = (0..12).map(|id| signed(&command(&format!("c{id}"), issued(id)))).collect();
        let ledger = NonceLedger::new(Duration::from_secs(ttl), capacity);
        let mut verifier = verifier().with_ledger(ledger.clone());
        let (mut obeyed, mut wall, mut now) = (BTreeSet::new(), WALL, NOW);
        let mut journal: Vec<(CommandId, UnixTime, Monotonic)> = Vec::new();
        for (id, jump, passed, restarts) in steps {
            if restarts {
                let watermark = verifier.retention().watermark;
                verifier = self::verifier().with_ledger(ledger.clone());
                // The clock starts again with the process.
                now = NOW;
                journal.iter_mut().for_each(|record| record.2 = now);
                let kept = journal.iter().map(|(id, issued_at, _)| (id.clone(), *issued_at)).collect();
                verifier.restore(kept, watermark, now);
            }
            wall = UnixTime::from_nanos(wall.as_nanos() + jump * 1_000_000_000);
            now = now.after(Duration::from_secs(passed));
            match reason(verifier.verify(&wires[usize::from(id)], wall, now)) {
                "ok" => {
                    prop_assert!(obeyed.insert(id), "{} twice", id);
                    journal.retain(|(.., at)| at.after(Duration::from_secs(ttl)) > now);
                    journal.push((CommandId::new(format!("c{id}")).unwrap(), issued(id), now));
                }
                "nonce_replayed" => prop_assert!(obeyed.contains(&id)),
                other => prop_assert!(["stale_command", "issued_in_future"].contains(&other), "{}", other),
            }
            prop_assert!(verifier.gauges().size <= capacity.max(1));
        }
    }
}

#[test]
fn command_issued_before_the_start_is_stale() {
    let start = WALL;
    let mut verifier = verifier().issued_after(start);
    let earlier = UnixTime::from_nanos(start.as_nanos() - 1);
    assert_eq!(reason(verifier.verify(&signed(&command("a", earlier)), WALL, NOW)), "stale_command");
    assert_eq!(reason(verifier.verify(&signed(&command("b", start)), WALL, NOW)), "stale_command");
    let later = UnixTime::from_nanos(start.as_nanos() + 1);
    assert_eq!(reason(verifier.verify(&signed(&command("c", later)), WALL, NOW)), "ok");
}

#[test]
fn handle_rotates_the_keys_of_a_verifier_in_use() {
    let handle = Arc::new(Mutex::new(verifier()));
    let mut in_use: Box<dyn Verifier> = Box::new(Arc::clone(&handle));
    let wire = Signer::new(&secret("secret two")).sign(&command("a", WALL)).unwrap();
    assert_eq!(reason(in_use.verify(&wire, WALL, NOW)), "invalid_signature");
    handle.lock().unwrap().keys_mut().add("k2", secret("secret two"));
    assert_eq!(reason(in_use.verify(&wire, WALL, NOW)), "ok");
    assert_eq!(in_use.gauges().size, 1);
}

#[test]
fn full_ledger_forgets_the_oldest_and_moves_the_watermark() {
    let mut ledger = NonceLedger::new(NonceLedger::TTL, 2);
    let id = |name: &str| CommandId::new(name).unwrap();
    let at = |millis| UnixTime::from_millis(millis);
    ledger.admit(&id("a"), at(10), NOW).unwrap();
    ledger.admit(&id("b"), at(20), NOW).unwrap();
    ledger.admit(&id("c"), at(30), NOW).unwrap();
    assert_eq!(ledger.admit(&id("a"), at(10), NOW), Err(NonceRefusal::Forgotten));
    assert_eq!(ledger.admit(&id("d"), at(9), NOW), Err(NonceRefusal::Forgotten));
    assert_eq!(ledger.admit(&id("b"), at(20), NOW), Err(NonceRefusal::Replayed));
    let expected = LedgerGauges { size: 2, evictions_total: 1, ttl: NonceLedger::TTL, watermark: Some(at(10)) };
    assert_eq!(ledger.gauges(), expected);
}

#[test]
fn every_verifier_of_this_crate_conforms() {
    kasmina_security::conformance::run(|secret| CommandVerifier::new(KeyRing::of("k1", secret)));
    kasmina_security::conformance::run(|secret| {
        Box::new(Arc::new(Mutex::new(CommandVerifier::new(KeyRing::of("k1", secret))))) as Box<dyn Verifier>
    });
}

#[test]
fn accept_all_returns_what_it_read_and_follows_its_script() {
    use prost::Message;
    let (mut double, handle) = AcceptAll::pair();
    let wire = command("c", WALL).encode_to_vec();
    let verified = double.verify(&wire, UnixTime::default(), NOW).unwrap();
    assert_eq!((verified.id().as_str(), verified.issued_at()), ("c", WALL));
    assert_eq!(verified.decode().unwrap().command(), &command("c", WALL));
    handle.reject_next(Rejection::InvalidSignature);
    assert_eq!(reason(double.verify(&wire, WALL, NOW)), "invalid_signature");
    assert_eq!(reason(double.verify(&wire, WALL, NOW)), "ok");
    let without_id = AdaptationCommand { command_id: String::new(), ..command("c", WALL) };
    assert_eq!(reason(double.verify(&without_id.encode_to_vec(), WALL, NOW)), "missing_command_id");
    let without_time = AdaptationCommand { issued_at: None, ..command("c", WALL) };
    assert_eq!(reason(double.verify(&without_time.encode_to_vec(), WALL, NOW)), "missing_timestamp");
    assert_eq!(double.retention(), Retention { ttl: NonceLedger::TTL, watermark: None, reset: None });
}

#[test]
fn reject_all_keeps_everything_it_was_given() {
    let mut verifier = RejectAll::default();
    verifier.restore(Vec::new(), Some(WALL), NOW);
    verifier.restore(Vec::new(), None, NOW);
    assert_eq!(verifier.retention(), Retention { ttl: Duration::MAX, watermark: Some(WALL), reset: None });
}

/// No clock was wrong: there is nothing to reset.
#[test]
fn watermark_in_the_past_asks_for_a_new_signature() {
    let mut verifier = verifier().issued_after(WALL);
    let rejection = verifier.verify(&signed(&command("old", WALL)), WALL, NOW).unwrap_err();
    assert_eq!(rejection.reason(), "stale_command");
    let message = rejection.to_string();
    assert!(message.contains("sign it again") && !message.contains("reset"), "{message}");
}

/// A clock that was a day ahead, and an operator who has set it right.
#[test]
fn reset_watermark_lets_honest_senders_in_again() {
    let ahead = WALL.after(Duration::from_secs(86_400));
    let (early, late) = (signed(&command("early", ahead)), signed(&command("late", ahead)));
    let mut verifier = verifier();
    assert_eq!(reason(verifier.verify(&early, ahead, NOW)), "ok");
    let later = NOW.after(Duration::from_secs(200));
    assert_eq!(reason(verifier.verify(&late, ahead, later)), "ok");
    // The first nonce is forgotten, which moves the watermark; the second one is still remembered.
    let now = NOW.after(Duration::from_secs(301));
    let rejection = verifier.verify(&signed(&command("honest", WALL)), WALL, now).unwrap_err();
    assert_eq!(rejection.reason(), "stale_command");
    let message = rejection.to_string();
    for said in ["86400s in the future", "`kasmina store reset-watermark DIR`"] {
        assert!(message.contains(said), "{message}");
    }
    assert!(verifier.reset_watermark(WALL) && !verifier.reset_watermark(WALL));
    let honest = WALL.after(Duration::from_secs(1));
    assert_eq!(reason(verifier.verify(&signed(&command("b", honest)), honest, now)), "ok");
    assert_eq!(reason(verifier.verify(&late, ahead, now)), "nonce_replayed");
    // Forgetting the second one does not move it ahead again.
    let now = later.after(Duration::from_secs(300));
    assert_eq!(reason(verifier.verify(&signed(&command("c", honest)), honest, now)), "ok");
    assert_eq!(verifier.retention().watermark, Some(WALL));
}

#[test]
fn watermark_alone_empties_the_ledger_of_what_it_stands_for_and_nothing_is_obeyed_twice() {
    let mut verifier = verifier();
    let ahead = WALL.after(Duration::from_secs(3));
    let (old, later) = (signed(&command("old", WALL)), signed(&command("later", ahead)));
    for wire in [&old, &later] {
        assert_eq!(reason(verifier.verify(wire, WALL, NOW)), "ok");
    }
    verifier.restore(Vec::new(), Some(WALL), NOW);
    assert_eq!((verifier.gauges().size, verifier.gauges().watermark), (1, Some(WALL)));
    assert_eq!(reason(verifier.verify(&old, WALL, NOW)), "stale_command");
    assert_eq!(reason(verifier.verify(&signed(&command("unseen", WALL)), WALL, NOW)), "stale_command");
    // Its sender's clock is ahead of the watermark, which does not stand for it.
    assert_eq!(reason(verifier.verify(&later, WALL, NOW)), "nonce_replayed");
    let new = WALL.after(Duration::from_millis(1));
    assert_eq!(reason(verifier.verify(&signed(&command("new", new)), new, NOW)), "ok");
    // An earlier watermark changes nothing.
    verifier.restore(Vec::new(), Some(WALL.before(Duration::from_secs(9))), NOW);
    assert_eq!((verifier.gauges().size, verifier.gauges().watermark), (2, Some(WALL)));
}

/// A command of some 64 KiB with this many annotations beside the signature, and a signature that nobody made.
fn forged(annotations: &[&str]) -> Vec<u8> {
    let mut command = command("forged", WALL);
    command.payload = None;
    command.issued_by = "x".repeat(63 << 10);
    command.annotations = annotations.iter().map(|key| ((*key).to_owned(), "value".to_owned())).collect();
    let sent = Signer::new(&secret("a stranger's")).sign(&command).unwrap();
    assert!(sent.len() > 63 << 10);
    sent
}

#[test]
fn forged_command_without_a_map_to_sort_is_hashed_once() {
    for (annotations, digests) in [(&[][..], 1), (&["one"], 1), (&["a", "b"], 1), (&["alpha_vec", "alpha_vec_len"], 2)]
    {
        let mut verifier = verifier();
        assert_eq!(reason(verifier.verify(&forged(annotations), WALL, NOW)), "invalid_signature");
        assert_eq!(verifier.digests(), digests, "{annotations:?}");
        verifier.keys_mut().add("k2", secret("secret two"));
        assert_eq!(reason(verifier.verify(&forged(annotations), WALL, NOW)), "invalid_signature");
        assert_eq!(verifier.digests(), 3 * digests, "once for each of two keys: {annotations:?}");
    }
}

#[test]
fn malformed_or_unsigned_command_is_not_hashed() {
    let mut verifier = verifier();
    let wire = forged(&[]);
    for bytes in [&wire[..wire.len() / 2], &wire[..20], &[], &[0xff; 70_000][..]] {
        assert_ne!(reason(verifier.verify(bytes, WALL, NOW)), "invalid_signature");
    }
    assert_eq!(verifier.digests(), 0);
}

#[test]
fn flood_of_replays_and_stale_copies_leaves_the_ledger_as_it_was() {
    let mut verifier = verifier();
    let (replayed, stale) = (signed(&command("c", WALL)), signed(&command("s", WALL.before(Duration::from_secs(61)))));
    assert_eq!(reason(verifier.verify(&replayed, WALL, NOW)), "ok");
    let (gauges, digests) = (verifier.gauges(), verifier.digests());
    for _ in 0..10_000 {
        assert_eq!(reason(verifier.verify(&replayed, WALL, NOW)), "nonce_replayed");
        assert_eq!(reason(verifier.verify(&stale, WALL, NOW)), "stale_command");
    }
    assert_eq!((verifier.gauges(), verifier.digests()), (gauges, digests + 20_000));
}

/// What a verifier allocates for a command that it has room for.
fn allocations(verifier: &mut CommandVerifier, wire: &[u8], expected: &str) -> u64 {
    let mut told = "";
    let counted = allocation_counter::measure(|| told = reason(verifier.verify(wire, WALL, NOW)));
    assert_eq!(told, expected);
    counted.count_total
}

/// A command as the stock Python runtime sends it: signed in one order, and sent in another.
fn shuffled(id: &str) -> Vec<u8> {
    let signed = signed(&command(id, WALL));
    let received = kasmina_leyline::wire::SignedBytes::parse(&signed).unwrap();
    let [before, after] = received.as_received();
    let entry = &signed[before.len()..signed.len() - after.len()];
    let bytewise = received.in_order(kasmina_leyline::wire::MapOrder::Bytewise);
    let sent = [bytewise.as_slice(), entry].concat();
    assert_ne!(sent, signed);
    sent
}

#[test]
fn steady_verifier_allocates_nothing_whatever_it_is_sent() {
    let mut verifier = verifier();
    // The ledger's first ids make room for some more, and the first command in another order for the next one.
    for number in 0..10 {
        assert_eq!(reason(verifier.verify(&shuffled(&format!("s-{number}")), WALL, NOW)), "ok");
    }
    let uuid = "01990f6e-5f3c-7c53-9e6f-0123456789ab";
    let new = signed(&command(uuid, WALL));
    let stale = signed(&command("old", WALL.before(Duration::from_secs(61))));
    let early = signed(&command("early", WALL.after(Duration::from_secs(6))));
    let forged = Signer::new(&secret("a stranger's")).sign(&command("forged", WALL)).unwrap();
    for (wire, expected) in [
        (new.as_slice(), "ok"),
        (&new, "nonce_replayed"),
        (&shuffled("s-10"), "ok"),
        (&stale, "stale_command"),
        (&early, "issued_in_future"),
        (&forged, "invalid_signature"),
        (&new[..new.len() / 2], "malformed"),
        (&[], "missing_signature"),
    ] {
        assert_eq!(allocations(&mut verifier, wire, expected), 0, "{expected}");
    }
}
