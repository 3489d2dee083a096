//! Verifying a signed command of ordinary size, beside the HMAC of as many bytes, with few and with many live nonces.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use kasmina::{
    leyline::{
        Monotonic, UnixTime,
        v1::{AdaptationCommand, CommandSeedOperation, CommandType, SeedOperation, adaptation_command::Payload},
    },
    safety::SystemClock,
    security::{CommandVerifier, KeyRing, NonceLedger, Secret, Signer, Verifier},
};
use kasmina_measure::{Limit, Row, Samples, Side, Unit};
use sha2::Sha256;

use crate::{case::Case, threads::at_once};

/// With nanoseconds, so that all commands are as long.
const WALL: UnixTime = UnixTime::from_nanos(1_790_000_000_123_456_789);
const SECRET: &str = "a shared secret";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = [(0, "0"), (1_000, "1k"), (10_000, "10k"), (100_000, "100k")].map(beside_hmac).into();
    cases.extend([many_beside_none(), two_threads(), allocations(), replay()]);
    cases
}

fn beside_hmac((live, name): (usize, &str)) -> Case {
    let row = Row::new(format!("verify/live_{name}"), format!("verify a signed command, {name} live nonces"));
    let row = row.beside("HMAC-SHA256 of its bytes").budget(Limit::AtMost(2_000.0)).aim(Limit::RatioAtMost(2.0));
    Case::new(row, move |meter| {
        let wires = Steady::with_live(0).sign(1_000);
        let mac: Hmac<Sha256> = Hmac::new_from_slice(SECRET.as_bytes()).expect("any length");
        let mut next = wires.iter().cycle();
        let hash = || {
            let mut mac = mac.clone();
            mac.update(next.next().map_or(&[], |wire| wire.bytes.as_slice()));
            mac.finalize()
        };
        meter.pair(with_live(live), Side::repeat(hash))
    })
}

/// 100,000 live nonces beside none.
fn many_beside_none() -> Case {
    let row = Row::new("verify/live_100k_beside_0", "verify a signed command, 100k live nonces");
    let row = row.beside("with none").budget(Limit::RatioAtMost(1.25)).aim(Limit::RatioAtMost(1.05));
    Case::new(row, |meter| meter.pair(with_live(100_000), with_live(0)))
}

fn two_threads() -> Case {
    let row = Row::new("verify/threads_2", "verify on 2 threads, a verifier each").beside("on 1 thread").doing(2.0);
    Case::new(row.budget(Limit::RatioAtLeast(1.6)).aim(Limit::RatioAtLeast(1.9)), |mut meter| {
        // A thread runs where it was started until the scheduler moves it to the other core.
        meter.effort.sample = Duration::from_millis(20);
        meter.pair(threads(2), threads(1))
    })
}

/// So many threads, each with the same work.
fn threads(threads: usize) -> Side<'static> {
    let mut steady: Vec<_> = (0..threads).map(|_| Steady::with_live(1_000)).collect();
    Side::timed(move |count| {
        let verify = |steady: &mut &mut Steady, commands: Vec<Signed>| steady.verify(&commands);
        let span = at_once(SystemClock::new(), steady.iter_mut(), |steady| steady.sign(count), verify);
        span.last.since(span.first)
    })
}

fn allocations() -> Case {
    let row = Row::new("verify/allocations", "allocations while a command is verified").in_unit(Unit::Count);
    Case::new(row.aim(Limit::AtMost(0.0)), |_| {
        let mut steady = Steady::with_live(1_000);
        let one = |_| {
            let commands = steady.sign(1);
            allocation_counter::measure(|| steady.verify(&commands)).count_total as f64
        };
        Samples { ours: (0..1_000).map(one).collect(), yardstick: Vec::new() }
    })
}

/// The 100,000th replay of a command beside the first ones.
fn replay() -> Case {
    let row = Row::new("verify/replay_100k", "reject the 100,000th replay").beside("the first thousands");
    Case::new(row.budget(Limit::RatioAtMost(1.1)), |meter| {
        let (mut steady, mut other) = (Steady::with_live(0), Steady::with_live(0));
        let (wire, other_wire) = (steady.sign(1).remove(0), other.sign(1).remove(0));
        (0..100_000).for_each(|_| drop(steady.verifier.verify(&wire.bytes, wire.unix, wire.now)));
        let reject = |steady: &mut Steady, Signed { bytes, unix, now }: &Signed| {
            assert_eq!(
                steady.verifier.verify(bytes, *unix, *now).map_err(|it| it.reason()).err(),
                Some("nonce_replayed")
            );
        };
        let _ = other.verifier.verify(&other_wire.bytes, other_wire.unix, other_wire.now);
        let many = Side::repeat(|| reject(&mut steady, &wire));
        meter.pair(many, Side::repeat(|| reject(&mut other, &other_wire)))
    })
}

/// Verifies with so many live nonces.
pub(crate) fn with_live(nonces: usize) -> Side<'static> {
    Side::on(
        Steady::with_live(nonces),
        |steady, count| steady.sign(count),
        |steady, commands, _| steady.verify(commands),
    )
}

/// A verifier whose ledger neither grows nor shrinks: a command comes whenever the oldest nonce expires.
struct Steady {
    signer: Signer,
    verifier: CommandVerifier,
    commands: u64,
    /// From one command to the next.
    gap: Duration,
}

/// A signed command, and when it comes.
struct Signed {
    bytes: Vec<u8>,
    unix: UnixTime,
    now: Monotonic,
}

impl Steady {
    /// With about so many live nonces.
    fn with_live(nonces: usize) -> Self {
        let secret = Secret::new(SECRET).expect("not empty");
        let ledger = NonceLedger::new(NonceLedger::TTL, 1 << 20);
        let verifier = CommandVerifier::new(KeyRing::of("k1", secret.clone())).with_ledger(ledger);
        let gap = (NonceLedger::TTL + Duration::from_secs(1)) / u32::try_from(nonces.max(1)).expect("not so many");
        let mut steady = Self { signer: Signer::new(&secret), verifier, commands: 0, gap };
        for _ in 0..=nonces / 1_000 {
            let commands = steady.sign(nonces.min(1_000) as u64);
            steady.verify(&commands);
        }
        steady
    }

    /// The next commands.
    fn sign(&mut self, count: u64) -> Vec<Signed> {
        let mut sign = |_| {
            self.commands += 1;
            let after = Duration::from_nanos(self.commands * self.gap.as_nanos() as u64);
            let (unix, now) = (WALL.after(after), Monotonic::ORIGIN.after(after));
            let bytes = self.signer.sign(&command(self.commands, unix)).expect("short");
            Signed { bytes, unix, now }
        };
        (0..count).map(&mut sign).collect()
    }

    fn verify(&mut self, commands: &[Signed]) {
        for Signed { bytes, unix, now } in commands {
            self.verifier.verify(bytes, *unix, *now).expect("authentic, fresh, new");
        }
    }
}

fn command(number: u64, issued_at: UnixTime) -> AdaptationCommand {
    let annotations = [("blend_mode", "RESIDUAL"), ("alpha_schedule", "linear"), ("training_run_id", "run-7")];
    AdaptationCommand {
        version: 1,
        command_id: format!("cmd-{number}"),
        command_type: CommandType::CommandSeed.into(),
        target_seed_id: "seed-1".into(),
        issued_at: Some(issued_at.into()),
        issued_by: "tamiyo".into(),
        payload: Some(Payload::SeedOperation(CommandSeedOperation {
            operation: SeedOperation::SeedOpStartGrafting.into(),
            blueprint_id: "bp-residual".into(),
            parameters: [("alpha_total_steps".into(), 400.0), ("lr_scale".into(), 1.0)].into(),
            ..CommandSeedOperation::default()
        })),
        annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..AdaptationCommand::default()
    }
}
