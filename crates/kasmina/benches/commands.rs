//! What a command costs beside its verification, what it costs to make it durable, alone and together with others, with 1, 8 and
//! 64 live seeds, and what going back costs. The host has four layers of 1600, so ten million parameters, and its seed is a
//! bottleneck 1600-32-1600; where seeds are counted, each has 100,000 parameters. The store is in the system's temporary directory.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use kasmina::{
    Grafts, Grown, SeedManagerBuilder, Settings,
    blending::BlendBackend,
    doubles::{Act, B, Host, SECRET, Stack, Trainee, World},
    rollback::Store,
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, NonceLedger, Secret, Verifier, doubles::AcceptAll},
};

const WIDTH: usize = 1600;
const SEED: &str = "seed-1";

type Bench = World<SystemClock>;

/// The mean squared error of a batch of four.
fn loss<C: BlendBackend>(host: &Stack<C>, width: usize, grafts: &mut Grafts<C>) -> Tensor<C, 1> {
    let x = Tensor::<C, 2>::random([4, width], Distribution::Default, &Default::default());
    (host.forward(x.clone(), grafts) - x).square().mean()
}

/// A verifier whose ledger never fills.
fn verifier() -> CommandVerifier {
    let secret = Secret::new(SECRET).expect("not empty");
    CommandVerifier::new(KeyRing::of("k1", secret)).with_ledger(NonceLedger::new(NonceLedger::TTL, 1 << 24))
}

fn world(
    verifier: impl Verifier + 'static,
    settings: Settings,
    storage: impl FnOnce(SeedManagerBuilder) -> SeedManagerBuilder,
) -> Bench {
    let world = World::with_clock(settings, SystemClock::new(), |builder| {
        storage(builder).verifier(verifier).build(&Default::default()).expect("an empty store")
    });
    world.add(&Stack::<B>::kernel(WIDTH, 32));
    world
}

/// With a seed in TRAINING.
fn grown(mut world: Bench, model: &Grown<B, Stack<B>>) -> Bench {
    world.manager.attach_host(model, |host, grafts| loss(host, WIDTH, grafts)).expect("a host alone");
    world.register(&model.host);
    world.act(SEED, Act::Germinate).expect("the kernel fits");
    world
}

/// Commands that change a number and nothing else.
fn wires(world: &mut Bench, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|_| world.wire(SEED, Act::Scale(0.5))).collect()
}

/// How long `act` takes.
fn time(act: impl FnOnce()) -> Duration {
    let clock = SystemClock::new();
    let started = clock.monotonic();
    act();
    clock.monotonic().since(started)
}

fn store(directory: &Path) -> Store {
    Store::open(directory).expect("a store")
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let model = Grown::new(Stack::<B>::init(WIDTH, 4, 1));

    let mut asked = grown(world(AcceptAll::default(), Settings::default(), SeedManagerBuilder::volatile), &model);
    let wire = wires(&mut asked, 1).remove(0);
    group.bench_function("dispatch", |bencher| bencher.iter(|| asked.manager.submit(&wire).expect("accepted")));

    let mut volatile = grown(world(verifier(), Settings::default(), SeedManagerBuilder::volatile), &model);
    group.bench_function("submit_volatile", |bencher| {
        bencher.iter_custom(|count| {
            let wires = wires(&mut volatile, count);
            time(|| wires.iter().for_each(|wire| drop(volatile.manager.submit(wire).expect("accepted"))))
        });
    });
    for together in [16, 256] {
        let directory = tempfile::tempdir().expect("a directory");
        let durable = world(verifier(), Settings::default(), |builder| builder.store(store(directory.path())));
        let mut durable = grown(durable, &model);
        group.bench_function(format!("submit_durable_{together}"), |bencher| {
            bencher.iter_custom(|count| {
                let rounds = (0..count).map(|_| wires(&mut durable, together)).collect::<Vec<_>>();
                time(|| {
                    for wires in &rounds {
                        let answers = durable.manager.submit_all(wires.iter().map(Vec::as_slice));
                        assert!(answers.iter().all(Result::is_ok));
                    }
                })
            });
        });
    }
    group.finish();
}

/// 320-156-320: 99,840 weights.
const COUNTED: (usize, usize) = (320, 156);

/// A world with `seeds` seeds in TRAINING, each with some moments in its optimizer.
fn counted(seeds: usize, directory: &Path) -> Bench {
    let (width, hidden) = COUNTED;
    let mut settings = Settings::default();
    settings.rollback.checkpoint_every = 1_000_000;
    let mut world = world(verifier(), settings, |builder| builder.store(store(directory)));
    world.add(&Stack::<B>::kernel(width, hidden));
    let mut trainee = Trainee::new(Stack::<B>::init(width, 2, seeds));
    let forward = |host: &Stack<B>, grafts: &mut Grafts<B>| loss(host, width, grafts);
    world.manager.attach_host(&trainee.model, forward).expect("a host alone");
    world.register(&trainee.model.host);
    let wires: Vec<_> = (1..=seeds).map(|at| world.wire(&format!("seed-{at}"), Act::Germinate)).collect();
    let answers = world.manager.submit_all(wires.iter().map(Vec::as_slice));
    assert!(answers.iter().all(Result::is_ok));
    for _ in 0..2 {
        let report = world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, 1e-4, forward);
        report.expect("the loss is finite");
    }
    world
}

/// The bytes of all files below a directory.
fn stored(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable"));
    let size = |entry: fs::DirEntry| match entry.metadata().expect("there").is_dir() {
        true => stored(&entry.path()),
        false => entry.metadata().expect("there").len(),
    };
    entries.map(size).sum()
}

/// A durable command beside one synced append of the same bytes to a plain file. Both take turns, so that they meet the same disk.
fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    group.measurement_time(Duration::from_secs(4));
    for seeds in [1, 8, 64] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = counted(seeds, directory.path());
        let written = |world: &mut Bench, act: Act| {
            let before = stored(directory.path());
            world.act(SEED, act).expect("accepted");
            stored(directory.path()) - before
        };
        let first = written(&mut world, Act::Scale(0.5));
        let bytes = vec![7; written(&mut world, Act::Scale(0.5)) as usize];
        let (pause, resume) = (written(&mut world, Act::Pause), written(&mut world, Act::Resume));
        let held = stored(directory.path());
        println!(
            "{seeds} seeds, {held} bytes in the store: PAUSE wrote {pause} bytes, RESUME {resume}, OPTIMIZER {}, the first {first}",
            bytes.len()
        );
        let mut raw = File::create(directory.path().join("raw")).expect("a file");
        let mut totals = [Duration::ZERO; 2];
        for (which, name) in [(0, "submit_durable_1"), (1, "append_synced")] {
            let name = if seeds == 1 { name.to_owned() } else { format!("{name}_seeds_{seeds}") };
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| {
                    let wires = wires(&mut world, count);
                    let mut sum = Duration::ZERO;
                    for (turn, wire) in wires.iter().enumerate() {
                        for task in [turn % 2, (turn + 1) % 2] {
                            let took = time(|| match task {
                                0 => drop(world.manager.submit(wire).expect("accepted")),
                                _ => raw.write_all(&bytes).and_then(|()| raw.sync_data()).expect("synced"),
                            });
                            totals[task] += took;
                            sum += if task == which { took } else { Duration::ZERO };
                        }
                    }
                    sum
                });
            });
        }
        let ratio = totals[0].as_secs_f64() / totals[1].as_secs_f64();
        println!(
            "command/submit_durable_1 with {seeds} seeds: {ratio:.3} of one synced append of the same {} bytes",
            bytes.len()
        );
    }
    group.finish();
}

fn rollbacks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rollback");
    group.sample_size(10);
    for (name, keep_in_memory) in [("fast_10m", 1), ("full_10m", 0)] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        settings.rollback.keep_in_memory = keep_in_memory;
        let mut trainee = Trainee::new(Stack::<B>::init(WIDTH, 4, 1));
        let world = world(AcceptAll::default(), settings, |builder| builder.store(store(directory.path())));
        let mut world = grown(world, &trainee.model);
        let forward = |host: &Stack<B>, grafts: &mut Grafts<B>| loss(host, WIDTH, grafts);
        let step = world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, 1e-4, forward);
        step.expect("the loss is finite");
        world.manager.checkpoint(&trainee.model, &trainee.optimizer).expect("there is space");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let back = |_| {
                    let wire = world.sender.roll_back(0, world.clock.unix()).expect("short");
                    world.manager.submit(&wire).expect("there is a checkpoint");
                    time(|| {
                        let (model, optimizer) = (&mut trainee.model, &mut trainee.optimizer);
                        world.manager.roll_back(model, optimizer).expect("it was ordered");
                    })
                };
                (0..count).map(back).sum()
            });
        });
    }
    group.finish();
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recover");
    group.sample_size(10);
    let model = Grown::new(Stack::<B>::init(WIDTH, 4, 1));
    for (name, commands) in [("commands_100", 100), ("commands_1600", 1600)] {
        let directory = tempfile::tempdir().expect("a directory");
        let durable = world(verifier(), Settings::default(), |builder| builder.store(store(directory.path())));
        let mut durable = grown(durable, &model);
        let wires = wires(&mut durable, commands);
        let answers = durable.manager.submit_all(wires.iter().map(Vec::as_slice));
        assert!(answers.iter().all(Result::is_ok));
        drop(durable);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                World::with_clock(Settings::default(), SystemClock::new(), |builder| {
                    let builder = builder.verifier(verifier()).store(store(directory.path()));
                    builder.recover(&Default::default()).expect("a sound store").0
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commands, durable, rollbacks, recovery);
criterion_main!(benches);
