//! What a command costs beside its verification, what it costs to make it durable, alone and together with others, and what going
//! back costs. The host has four layers of 1600, so ten million parameters; the seed is a bottleneck 1600-32-1600. The store is in
//! the system's temporary directory.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::time::Duration;

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamW, AdamWConfig, adaptor::OptimizerAdaptor},
    tensor::{Distribution, Tensor, backend::Backend},
};
use criterion::{Criterion, criterion_group, criterion_main};
use kasmina::{
    CommandSender, Grafts, SeedManager, SeedManagerBuilder, Settings,
    blending::BlendBackend,
    kernel_load::{Initialisation, LayerSpec, Manifest, SlotContract, doubles::MemoryLibrary},
    leyline::{
        BlueprintId, SeedId, SlotId, TrainingRunId,
        v1::{AdaptationCommand, CommandOptimizerAdjustment, CommandType, adaptation_command::Payload},
    },
    rollback::Store,
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, NonceLedger, Secret, Verifier, doubles::AcceptAll},
};

type B = Autodiff<Flex>;

const WIDTH: usize = 1600;

#[derive(Module, Debug)]
struct Host<B: Backend> {
    layers: Vec<Linear<B>>,
}

impl<B: BlendBackend> Host<B> {
    fn init() -> Self {
        Self { layers: (0..4).map(|_| LinearConfig::new(WIDTH, WIDTH).init(&Default::default())).collect() }
    }

    fn loss(&self, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        let x = Tensor::<B, 2>::random([4, WIDTH], Distribution::Default, &Default::default());
        let h = self.layers.iter().fold(x.clone(), |h, layer| layer.forward(h));
        (grafts.at("late", h) - x).square().mean()
    }
}

fn seed() -> SeedId {
    SeedId::new("seed-1").expect("an id")
}

fn secret() -> Secret {
    Secret::new("the bench's secret").expect("not empty")
}

fn sender() -> CommandSender {
    CommandSender::new(&secret(), "bench").expect("a name")
}

/// A verifier whose ledger never fills.
fn verifier() -> CommandVerifier {
    CommandVerifier::new(KeyRing::of("k1", secret())).with_ledger(NonceLedger::new(NonceLedger::TTL, 1 << 24))
}

/// A builder with a library.
fn builder(verifier: impl Verifier + 'static, settings: Settings) -> SeedManagerBuilder {
    let blueprint = BlueprintId::new("bottleneck").expect("an id");
    let layers = vec![LayerSpec::linear(WIDTH, 32), LayerSpec::linear(32, WIDTH)];
    let manifest = Manifest::new(blueprint, SlotContract::f32(2, WIDTH, WIDTH), layers).expect("the layers chain");
    let library = MemoryLibrary::new();
    library.add(&manifest, &Initialisation { seed: 1, zero_last: true }).expect("the manifest is valid");
    let run = TrainingRunId::new("bench-1").expect("an id");
    SeedManager::<B>::builder(run).settings(settings).verifier(verifier).kernels(library)
}

/// With a seed in TRAINING.
fn grown(mut manager: SeedManager<B>, host: &Host<B>) -> SeedManager<B> {
    manager.attach_host(host, |host, grafts| host.loss(grafts)).expect("a host alone");
    manager.register_seed(seed(), SlotId::new("late").expect("an id")).expect("the first");
    let blueprint = BlueprintId::new("bottleneck").expect("an id");
    let wire = sender().germinate(&seed(), &blueprint, SystemClock::new().unix()).expect("short");
    manager.submit(&wire).expect("the kernel fits");
    manager
}

/// Commands that change a number and nothing else.
fn wires(sender: &mut CommandSender, count: u64) -> Vec<Vec<u8>> {
    let hyperparameters = [("lr_scale".to_owned(), 0.5)].into();
    let adjustment = CommandOptimizerAdjustment { hyperparameters, ..CommandOptimizerAdjustment::default() };
    let command = AdaptationCommand {
        command_type: CommandType::CommandOptimizer.into(),
        target_seed_id: seed().to_string(),
        payload: Some(Payload::OptimizerAdjustment(adjustment)),
        ..AdaptationCommand::default()
    };
    let now = SystemClock::new();
    (0..count).map(|_| sender.send(command.clone(), now.unix()).expect("short")).collect()
}

/// How long `act` takes.
fn time(act: impl FnOnce()) -> Duration {
    let clock = SystemClock::new();
    let started = clock.monotonic();
    act();
    clock.monotonic().since(started)
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let (host, device) = (Host::init(), Default::default());
    let fresh = || builder(verifier(), Settings::default());

    let unasked = builder(AcceptAll::default(), Settings::default()).volatile();
    let mut manager = grown(unasked.build(&device).expect("a manager"), &host);
    let wire = wires(&mut sender(), 1).remove(0);
    group.bench_function("dispatch", |bencher| bencher.iter(|| manager.submit(&wire).expect("accepted")));

    let mut manager = grown(fresh().volatile().build(&device).expect("a manager"), &host);
    let mut sender = sender();
    group.bench_function("submit_volatile", |bencher| {
        bencher.iter_custom(|count| {
            let wires = wires(&mut sender, count);
            time(|| wires.iter().for_each(|wire| drop(manager.submit(wire).expect("accepted"))))
        });
    });
    for together in [1, 16, 256] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).expect("an empty store");
        let mut manager = grown(fresh().store(store).build(&device).expect("a manager"), &host);
        group.bench_function(format!("submit_durable_{together}"), |bencher| {
            bencher.iter_custom(|count| {
                let rounds = (0..count).map(|_| wires(&mut sender, together)).collect::<Vec<_>>();
                time(|| {
                    for wires in &rounds {
                        let answers = manager.submit_all(wires.iter().map(Vec::as_slice));
                        assert!(answers.iter().all(Result::is_ok));
                    }
                })
            });
        });
    }
    group.finish();
}

fn rollbacks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rollback");
    group.sample_size(10);
    for (name, keep_in_memory) in [("fast_10m", 1), ("full_10m", 0)] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).expect("an empty store");
        let mut settings = Settings::default();
        settings.rollback.keep_in_memory = keep_in_memory;
        let builder = builder(AcceptAll::default(), settings).store(store);
        let mut host = Host::init();
        let mut optimizer: OptimizerAdaptor<AdamW, Host<B>, B> = AdamWConfig::new().init();
        let mut manager = grown(builder.build(&Default::default()).expect("a manager"), &host);
        let step = manager.train_batch(&mut host, &mut optimizer, 1e-4, |host, grafts| host.loss(grafts));
        step.expect("the loss is finite");
        manager.checkpoint(&host, &optimizer).expect("there is space");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let back = |_| {
                    let wire = sender().roll_back(0, SystemClock::new().unix()).expect("short");
                    manager.submit(&wire).expect("there is a checkpoint");
                    let clock = SystemClock::new();
                    let started = clock.monotonic();
                    manager.roll_back(&mut host, &mut optimizer).expect("it was commanded");
                    clock.monotonic().since(started)
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
    let (host, device) = (Host::init(), Default::default());
    for (name, commands) in [("commands_100", 100), ("commands_1600", 1600)] {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || Store::open(directory.path()).expect("a store");
        let mut manager = grown(
            builder(verifier(), Settings::default()).store(open()).build(&device).expect("an empty store"),
            &host,
        );
        let wires = wires(&mut sender(), commands);
        let answers = manager.submit_all(wires.iter().map(Vec::as_slice));
        assert!(answers.iter().all(Result::is_ok));
        drop(manager);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let builder = builder(verifier(), Settings::default()).store(open());
                builder.recover::<B>(&device).expect("a sound store")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commands, rollbacks, recovery);
criterion_main!(benches);
