//! Kernels whose fused path is slow, broken or wrong run on the plain path, learn there, and come back; and the host never notices.
//!
//! On Flex, which does not fuse, the manager is told that it does. `cargo xtask gpu-check` tells the same story on a device that fuses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{AdamW, AdamWConfig, adaptor::OptimizerAdaptor},
    tensor::Tensor,
};
use kasmina::{
    GraftBackend, SeedManager, Settings,
    doubles::{Act, FusedFault, Mlp, RATE, blueprint, determined, loss, seed, slot, stock},
    gates::doubles::AllowAll,
    grown::Grown,
    kernel_load::{Initialisation, doubles::MemoryLibrary},
    leyline::{
        TrainingRunId,
        v1::{SeedLifecycleStage::*, TelemetryEvent, TelemetryLevel, TelemetryPacket},
    },
    safety::doubles::ManualClock,
    telemetry::doubles::MemorySink,
};

use crate::common::{self, B, World};

/// A run on any backend, with one seed.
struct Run<B: GraftBackend> {
    manager: SeedManager<B>,
    clock: ManualClock,
    sink: MemorySink,
    model: Grown<B, Mlp<B>>,
    optimizer: OptimizerAdaptor<AdamW, Grown<B, Mlp<B>>, B>,
    step: u64,
}

impl<B: GraftBackend> Run<B> {
    fn new(settings: Settings) -> Self {
        let (clock, sink, library) = (ManualClock::default(), MemorySink::default(), MemoryLibrary::new());
        for manifest in stock() {
            library.add(&manifest, &Initialisation { seed: 3, zero_last: false }).unwrap();
        }
        let builder =
            SeedManager::<B>::builder(TrainingRunId::new("run-7").unwrap()).settings(settings).kernels(library);
        let builder = builder.clock(clock.clone()).sink(sink.clone()).gatekeepers(AllowAll).volatile();
        let mut manager = builder.build(&Default::default()).unwrap();
        manager.declare_fused();
        let model = Grown::new(determined(Mlp::init()));
        manager.attach_host(&model, |host, grafts| loss(host, 0, grafts)).unwrap();
        manager.register_seed(seed("seed-1"), slot("mid")).unwrap();
        Self { manager, clock, sink, model, optimizer: AdamWConfig::new().init(), step: 0 }
    }

    fn order(&mut self, act: Act) {
        self.manager.order(act.order(seed("seed-1"), blueprint("mlp"))).unwrap();
    }

    fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.step += 1;
            let step = self.step;
            let forward = |host: &Mlp<B>, grafts: &mut _| loss(host, step, grafts);
            self.manager.train_batch(&mut self.model, &mut self.optimizer, RATE, forward).unwrap();
        }
    }

    fn inject(&mut self, fault: Option<FusedFault>) {
        self.manager.inject(blueprint("mlp"), fault);
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn host(&self) -> Vec<f32> {
        numbers(&self.model)
    }

    fn kernel(&self) -> Vec<f32> {
        numbers(&self.manager.kernel(&seed("seed-1")).unwrap())
    }

    fn told(&mut self) -> Told {
        self.manager.flush_telemetry();
        Told(self.sink.take())
    }
}

/// Telemetry since the last look.
struct Told(Vec<TelemetryPacket>);

impl Told {
    fn events(&self, name: &str) -> Vec<&TelemetryEvent> {
        self.0.iter().flat_map(|packet| &packet.events).filter(|event| event.description == name).collect()
    }

    fn metrics(&self, name: &str) -> Vec<f64> {
        let points = self.0.iter().flat_map(|packet| &packet.metrics);
        let measured = points.filter(|point| point.name == name && !point.attributes.contains_key("statistic"));
        measured.map(|point| point.value).collect()
    }

    /// The reasons of the moves to the plain path, and the number of those back.
    fn moves(&self) -> (Vec<&str>, usize) {
        let reasons = self.events("kernel_plain").into_iter().map(|event| event.attributes["reason"].as_str());
        (reasons.collect(), self.events("kernel_fused").len())
    }
}

fn numbers<B: GraftBackend, M: Module<B>>(module: &M) -> Vec<f32> {
    struct Numbers(Vec<f32>);
    impl<B: GraftBackend> ModuleVisitor<B> for Numbers {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut numbers = Numbers(Vec::new());
    module.visit(&mut numbers);
    assert!(!numbers.0.is_empty());
    numbers.0
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

fn wrong() -> Option<FusedFault> {
    Some(FusedFault::offset(0.5))
}

/// From the first execution of a kernel that the device computes wrongly, to the day when it computes it rightly again.
fn story<B: GraftBackend>() {
    let (mut control, mut sound) = (Run::<B>::new(Settings::default()), Run::<B>::new(Settings::default()));
    let mut run = Run::<B>::new(Settings::default());
    run.inject(wrong());
    let same_host = |run: &Run<B>, control: &Run<B>| assert_eq!(bits(&run.host()), bits(&control.host()));
    let all = |runs: [&mut Run<B>; 3], count| runs.into_iter().for_each(|run| run.steps(count));

    [&mut run, &mut sound].into_iter().for_each(|run| run.order(Act::Germinate));
    let told = run.told();
    assert_eq!(told.moves(), (vec!["numeric_disagreement"], 0));
    let event = told.events("kernel_plain")[0];
    assert_eq!((event.level(), event.attributes["blueprint"].as_str()), (TelemetryLevel::Warning, "mlp"));
    let difference: f32 = event.attributes["difference"].parse().unwrap();
    assert!(difference > 0.05 && event.attributes["tolerance"] == "0.01", "{event:?}");
    assert_eq!(told.metrics("kasmina.kernel.fused_difference"), [f64::from(difference)]);
    assert_eq!(
        (told.metrics("kasmina.kernel.first_execution_ms").len(), told.metrics("kasmina.prewarm.latency_ms").len()),
        (1, 1)
    );
    let told = sound.told();
    assert_eq!(told.moves(), (vec![], 0));
    let differences = told.metrics("kasmina.kernel.fused_difference");
    assert!(differences.len() == 1 && differences.iter().all(|it| *it < 1e-4), "{differences:?}");
    assert_eq!(run.manager.stage(&seed("seed-1")), Some(SeedStageTraining), "nobody is culled for it");

    // It rides, is blended in, and learns what it would learn on a device that computes rightly.
    let untrained = run.kernel();
    all([&mut run, &mut sound, &mut control], 5);
    same_host(&run, &control);
    [&mut run, &mut sound].into_iter().for_each(|run| run.order(Act::Graft(8)));
    all([&mut run, &mut sound, &mut control], 10);
    same_host(&run, &control);
    let learned = largest_difference(&run.kernel(), &untrained);
    let apart = largest_difference(&run.kernel(), &sound.kernel());
    assert!(learned > 5e-3 && apart < 1e-5, "learned {learned}, but {apart} apart");
    assert_eq!(run.told().moves(), (vec![], 0));

    // The trial after the time-out finds it as wrong as before.
    run.wait(30);
    all([&mut run, &mut sound, &mut control], 1);
    let told = run.told();
    assert_eq!((told.moves(), told.metrics("kasmina.kernel.fused_difference").len()), ((vec![], 0), 1));

    run.inject(None);
    all([&mut run, &mut sound, &mut control], 1);
    assert_eq!(run.told().moves(), (vec![], 0), "the time-out runs");
    run.wait(30);
    all([&mut run, &mut sound, &mut control], 1);
    let told = run.told();
    assert_eq!(told.moves(), (vec![], 1));
    let event = told.events("kernel_fused")[0];
    assert_eq!((event.level(), event.attributes["reason"].as_str()), (TelemetryLevel::Info, "paths_agree"));
    all([&mut run, &mut sound, &mut control], 5);
    same_host(&run, &control);
    let apart = largest_difference(&run.kernel(), &sound.kernel());
    assert!(apart < 1e-5, "{apart} apart");
    assert_eq!(run.manager.stage(&seed("seed-1")), sound.manager.stage(&seed("seed-1")));
}

#[test]
fn wrong_kernel_learns_on_the_plain_path_and_comes_back() {
    story::<B>();
}

/// Without the monitor the same kernel learns from its wrong numbers, so the story above says something.
#[test]
fn wrong_kernel_that_nobody_watches_learns_something_else() {
    let mut unwatched = Settings::default();
    unwatched.compile_monitor.executions = 0;
    let (mut wrong_run, mut sound) = (Run::<B>::new(unwatched.clone()), Run::<B>::new(unwatched));
    wrong_run.inject(wrong());
    for run in [&mut wrong_run, &mut sound] {
        run.order(Act::Germinate);
        run.order(Act::Graft(4));
        run.steps(10);
    }
    assert!(largest_difference(&wrong_run.kernel(), &sound.kernel()) > 1e-3);
    assert_eq!(wrong_run.told().moves(), (vec![], 0));
    assert_eq!(bits(&wrong_run.host()), bits(&sound.host()), "the host is safe all the same");
}

#[test]
fn slow_or_failing_kernel_moves_to_the_plain_path() {
    for (slow, reason) in [(true, "slow_execution"), (false, "kernel_panicked")] {
        let mut run = Run::<B>::new(Settings::default());
        let clock = run.clock.clone();
        run.inject(Some(FusedFault::default().meanwhile(move || {
            assert!(slow, "the compiler has failed");
            clock.advance(Duration::from_millis(10_001));
        })));
        run.order(Act::Germinate);
        let told = run.told();
        assert_eq!(told.moves(), (vec![reason], 0));
        let took = told.metrics("kasmina.kernel.first_execution_ms");
        assert_eq!(took, [if slow { 10_001.0 } else { 0.0 }]);
        run.steps(3);
        assert_eq!(run.manager.stage(&seed("seed-1")), Some(SeedStageTraining));
    }
}

/// A single execution is watched, so that a trial of the kernel wants as many as a new one.
#[test]
fn trial_of_a_known_kernel_is_not_its_first_execution() {
    let mut settings = Settings::default();
    settings.compile_monitor.executions = 1;
    let mut run = Run::<B>::new(settings);
    run.inject(wrong());
    run.order(Act::Germinate);
    let told = run.told();
    assert_eq!(told.metrics("kasmina.kernel.first_execution_ms").len(), 1);
    assert_eq!(told.moves(), (vec!["numeric_disagreement"], 0));
    run.wait(3_600);
    run.steps(1);
    let told = run.told();
    assert_eq!(told.metrics("kasmina.kernel.fused_difference").len(), 1, "there was a trial");
    assert_eq!(told.metrics("kasmina.kernel.first_execution_ms").len(), 0);
}

/// Three executions when the kernel comes, the prewarm and the rehearsal of G1; from then on nothing but the passes.
#[test]
fn monitor_that_has_seen_enough_adds_nothing_to_a_step() {
    let mut run = Run::<B>::new(Settings::default());
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    run.inject(Some(FusedFault::default().meanwhile(move || _ = count.fetch_add(1, Relaxed))));
    run.order(Act::Germinate);
    assert_eq!(runs.swap(0, Relaxed), 5);
    for _ in 0..20 {
        run.wait(60);
        run.steps(1);
        assert_eq!(runs.swap(0, Relaxed), 1, "the rider's own forward pass");
    }
}

#[test]
fn kernel_that_was_not_prewarmed_is_watched_in_the_next_step() {
    let mut settings = Settings::default();
    settings.kernels.prewarm = false;
    let mut run = Run::<B>::new(settings);
    run.inject(wrong());
    run.order(Act::Germinate);
    let told = run.told();
    assert_eq!((told.moves(), told.metrics("kasmina.prewarm.latency_ms").len()), ((vec![], 0), 0));
    run.steps(1);
    assert_eq!(run.told().moves(), (vec!["numeric_disagreement"], 0));
}

#[test]
fn device_that_does_not_fuse_is_not_watched() {
    let mut world = World::new(Settings::default());
    let model = common::model_of(Mlp::<B>::init());
    world.attach(&model);
    world.germinate("seed-1", "mlp").unwrap();
    world.manager.flush_telemetry();
    let told = Told(world.sink.take());
    assert_eq!(told.moves(), (vec![], 0));
    assert_eq!(told.metrics("kasmina.kernel.first_execution_ms").len(), 0);
    assert_eq!(told.metrics("kasmina.prewarm.latency_ms").len(), 1);
}

/// The fault is on the only path that there is.
#[test]
fn kernel_that_cannot_be_prewarmed_fails_its_graft() {
    let broken = FusedFault::default().meanwhile(|| panic!("out of memory"));
    for (fault, reason) in [(broken, "kernel_panicked"), (FusedFault::offset(f32::INFINITY), "kernel_not_finite")] {
        let mut world = World::new(Settings::default());
        world.attach(&common::model_of(Mlp::<B>::init()));
        world.manager.inject(blueprint("mlp"), Some(fault));
        assert_eq!(common::refused(world.germinate("seed-1", "mlp")), reason);
        assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
        let culled =
            |event: &TelemetryEvent| event.description == "seed_culled" && event.attributes["reason"] == reason;
        assert!(world.events().iter().any(culled), "{reason}");
        assert_eq!(world.manager.kernel(&seed("seed-1")).map(drop), None);
    }
}

/// Its contract fits, but the slot's pictures have fewer pixels than its convolution.
#[test]
fn kernel_too_large_for_its_slot_fails_its_graft() {
    use kasmina::kernel_load::{LayerSpec, SlotContract};
    let mut world = World::new(Settings::default());
    world.attach(&common::model_of(common::Cnn::<B>::init()));
    let conv = LayerSpec::Conv2d {
        channels_in: 3,
        channels_out: 3,
        kernel: [5, 5],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
        bias: true,
    };
    world.publish("large", SlotContract::f32(4, 3, 3), vec![conv]);
    assert_eq!(common::refused(world.germinate("seed-1", "large")), "input_too_small");
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
}

#[test]
fn prewarm_draws_no_random_number() {
    if !common::alone("plain_path::prewarm_draws_no_random_number") {
        return;
    }
    use burn::tensor::{Distribution, backend::Backend};
    let draw = || Tensor::<B, 1>::random([4], Distribution::Default, &Default::default()).into_data();
    let mut run = Run::<B>::new(Settings::default());
    B::seed(&Default::default(), 42);
    let (first, second) = (draw(), draw());
    B::seed(&Default::default(), 42);
    assert_eq!(draw(), first);
    run.order(Act::Germinate);
    assert_eq!(run.told().metrics("kasmina.prewarm.latency_ms").len(), 1);
    assert_eq!(draw(), second);
}
