//! Verifying a command of ordinary size, with an empty and with a full nonce ledger. Budget 0.5 ms, aim 2 us.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kasmina_leyline::{
    CommandId, Monotonic, UnixTime,
    v1::{AdaptationCommand, CommandSeedOperation, CommandType, SeedOperation, adaptation_command::Payload},
};
use kasmina_security::{CommandVerifier, KeyRing, NonceLedger, Secret, Signer, Verifier};

const WALL: UnixTime = UnixTime::from_millis(1_790_000_000_000);

fn command(number: usize) -> AdaptationCommand {
    let annotations = [("blend_mode", "RESIDUAL"), ("alpha_schedule", "linear"), ("training_run_id", "run-7")];
    AdaptationCommand {
        version: 1,
        command_id: format!("cmd-{number}"),
        command_type: CommandType::CommandSeed.into(),
        target_seed_id: "seed-1".into(),
        issued_at: Some(WALL.into()),
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

fn verify(criterion: &mut Criterion) {
    let secret = Secret::new("a shared secret").expect("not empty");
    let signer = Signer::new(&secret);
    let wires: Vec<_> = (0..1_000).map(|number| signer.sign(&command(number)).expect("short")).collect();
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(1));
    for (name, live) in [("command", 0), ("command_1k_live", 1_000), ("command_9k_live", 9_000)] {
        let mut ledger = NonceLedger::new(Duration::from_secs(300), 10_000);
        for number in 0..live {
            let id = CommandId::new(format!("live-{number}")).expect("an id");
            ledger.admit(&id, WALL, Monotonic::ORIGIN).expect("new");
        }
        let verifier = CommandVerifier::new(KeyRing::of("k1", secret.clone())).with_ledger(ledger);
        group.bench_function(name, |bencher| {
            // A verifier is spent after each command once, so that no command is a replay and none is measured cold.
            bencher.iter_custom(|mut iterations| {
                let mut spent = Duration::ZERO;
                while iterations > 0 {
                    let round = iterations.min(wires.len() as u64);
                    iterations -= round;
                    let mut verifier = verifier.clone();
                    let started = Instant::now();
                    for wire in wires.iter().take(round as usize) {
                        verifier.verify(wire, WALL, Monotonic::ORIGIN).expect("authentic, fresh, new");
                    }
                    spent += started.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
