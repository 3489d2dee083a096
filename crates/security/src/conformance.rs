//! The suite for implementers of a [`Verifier`] that checks signatures: call [`run`] in a test.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a broken promise fails the test that asked"
)]

use std::time::Duration;

use kasmina_leyline::{CommandId, Monotonic, UnixTime, v1::AdaptationCommand};

use crate::{Retention, Secret, Signer, VerifiedBytes, Verifier};

/// The wall clock that the suite runs at.
pub const WALL: UnixTime = UnixTime::from_millis(1_790_000_000_000);

const NOW: Monotonic = Monotonic::ORIGIN;

/// Runs the suite. `build` makes a new verifier that knows the given secret and has accepted nothing. Its window must admit a
/// command that was issued at [`WALL`].
///
/// # Panics
/// If a promise of the trait is broken.
pub fn run<V: Verifier>(build: impl Fn(Secret) -> V) {
    let secret = || Secret::new("conformance").expect("not empty");
    let build = || build(secret());
    let signer = Signer::new(&secret());
    let sign = |id: &str, issued_at| signer.sign(&command(id, issued_at)).expect("short");

    accepts_signed_command_once(&mut build(), &sign("c1", WALL));
    rejects_what_is_not_signed(build, &sign("c1", WALL));
    rejection_uses_up_no_nonce(&mut build(), &sign("c1", WALL));
    restored_nonce_is_not_accepted(&mut build(), &sign("c1", WALL));
    restored_watermark_holds(&mut build(), &sign("c1", WALL));
    retention_outlasts_forgetting(build, &sign("c1", WALL));
}

fn accepts_signed_command_once(verifier: &mut dyn Verifier, wire: &[u8]) {
    let verified = verifier.verify(wire, WALL, NOW).expect("authentic, fresh and new");
    assert_eq!((verified.id().as_str(), verified.issued_at()), ("c1", WALL), "what was proved");
    let decoded = verified.decode().expect("what is accepted decodes");
    assert_eq!((decoded.id().as_str(), decoded.issued_at()), ("c1", WALL), "what was proved");
    assert_eq!(decoded.command().command_id, "c1");
    assert_eq!(reason(verifier.verify(wire, WALL, NOW)), "nonce_replayed");
}

fn rejects_what_is_not_signed<V: Verifier>(build: impl Fn() -> V, wire: &[u8]) {
    use prost::Message;
    let unsigned = command("c1", WALL).encode_to_vec();
    assert_eq!(reason(build().verify(&unsigned, WALL, NOW)), "missing_signature");
    let stranger = Signer::new(&Secret::new("another").expect("not empty"));
    let forged = stranger.sign(&command("c1", WALL)).expect("short");
    assert_eq!(reason(build().verify(&forged, WALL, NOW)), "invalid_signature");
    for bit in 0..wire.len() * 8 {
        let mut spoilt = wire.to_vec();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        assert!(build().verify(&spoilt, WALL, NOW).is_err(), "bit {bit} was changed and the command accepted");
    }
    for length in 0..wire.len() {
        assert!(build().verify(&wire[..length], WALL, NOW).is_err(), "cut to {length} bytes and accepted");
    }
}

fn rejection_uses_up_no_nonce(verifier: &mut dyn Verifier, wire: &[u8]) {
    let late = WALL.after(Duration::from_secs(24 * 3600));
    assert_eq!(reason(verifier.verify(wire, late, NOW)), "stale_command");
    let early = WALL.before(Duration::from_secs(24 * 3600));
    assert_eq!(reason(verifier.verify(wire, early, NOW)), "issued_in_future");
    assert_eq!(reason(verifier.verify(wire, WALL, NOW)), "ok");
}

fn restored_nonce_is_not_accepted(verifier: &mut dyn Verifier, wire: &[u8]) {
    verifier.restore(vec![(CommandId::new("c1").expect("an id"), WALL)], None, NOW);
    assert_eq!(reason(verifier.verify(wire, WALL, NOW)), "nonce_replayed");
}

fn restored_watermark_holds(verifier: &mut dyn Verifier, wire: &[u8]) {
    verifier.restore(Vec::new(), Some(WALL), NOW);
    assert!(verifier.retention().watermark >= Some(WALL), "a watermark that was restored must be kept");
    assert_eq!(reason(verifier.verify(wire, WALL, NOW)), "stale_command");
}

/// It must be enough if a journal keeps exactly what `retention` asks for.
fn retention_outlasts_forgetting<V: Verifier>(build: impl Fn() -> V, wire: &[u8]) {
    let mut first = build();
    let accepted = first.verify(wire, WALL, NOW).expect("authentic, fresh and new");
    let Retention { ttl, .. } = first.retention();
    for passed in [Duration::ZERO, ttl / 2, ttl, ttl.saturating_mul(2)] {
        let now = NOW.after(passed);
        assert_ne!(reason(first.verify(wire, WALL, now)), "ok", "replayed after {passed:?}");
        let mut second = build();
        let kept = if passed < ttl { vec![(accepted.id().clone(), accepted.issued_at())] } else { Vec::new() };
        second.restore(kept, first.retention().watermark, NOW);
        assert_ne!(reason(second.verify(wire, WALL, NOW)), "ok", "replayed after a restart after {passed:?}");
    }
}

fn command(id: &str, issued_at: UnixTime) -> AdaptationCommand {
    AdaptationCommand { command_id: id.into(), issued_at: Some(issued_at.into()), ..AdaptationCommand::default() }
}

fn reason(outcome: Result<VerifiedBytes<'_>, crate::Rejection>) -> &'static str {
    outcome.map_or_else(|rejection| rejection.reason(), |_| "ok")
}
